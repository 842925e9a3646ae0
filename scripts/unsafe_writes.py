"""`python scripts/unsafe_writes.py`: files are written whole and never through a link, by `quant.canonical_json`.

A module of the five packages that opens a file for writing itself, or gives an unfinished one a name that another
writer may choose as well, needs a reason in EXCEPTIONS. Ends with 1 where there is none, or one that nothing needs.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

PACKAGES = ("quant", "engines", "evals", "reports", "flows")
CHECKPOINT = "files of a checkpoint, whose folder is made beside its place under a lock, and renamed"
LOCKED_FOLDER = "a folder that is made beside its place under a lock, and renamed"
TEMPORARY = "a file in a temporary folder of its own"
EXCEPTIONS = {
    "quant/canonical_json.py": "whole_file and open_to_append themselves",
    "quant/checkpoints/model_files.py": CHECKPOINT,
    "quant/methods/existing.py": CHECKPOINT,
    "quant/tools/cast_float16.py": CHECKPOINT,
    "quant/tools/llmcompressor.py": CHECKPOINT,
    "quant/tools/tokenizer.py": CHECKPOINT,
    "quant/tools/transformers4_compat.py": CHECKPOINT,
    "engines/launchers/triton_server.py": TEMPORARY,
    "flows/sources/wheels.py": LOCKED_FOLDER,
    "engines/telemetry/sampler.py": TEMPORARY,
    "evals/data/sample_data.py": LOCKED_FOLDER,
    "flows/cli/commands.py": "`compare --html`: where the user says, which may be a pipe or a device",
    "flows/distributed/object_store.py": "a temporary folder, and a random name that fsspec writes to",
    "flows/execute/quantize_checkpoint.py": LOCKED_FOLDER,
    "flows/sources/calibration.py": CHECKPOINT,
    "flows/sources/datasets.py": LOCKED_FOLDER,
    "flows/sources/models.py": LOCKED_FOLDER,
    "flows/state/locks.py": "locks, which are never renamed; it has rules of its own",
}
WRITERS = {"write_text", "write_bytes", "save", "savez", "savez_compressed", "savefig", "write_table"}
OWNERS = {"save": "np", "savez": "np", "savez_compressed": "np"}  # other objects have methods of these names
NAMING = {"with_suffix", "with_name"}


def unsafe_lines(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, what it does) of every call that writes a file by itself."""
    opened = set(_opened_safely(tree))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        owner = getattr(getattr(node.func, "value", None), "id", "")
        if name == "open" and (owner == "os" or _opens_to_write(node)):
            yield node.lineno, "opens a file for writing"
        elif name in WRITERS and owner == OWNERS.get(name, owner) and not opened & _names(node.args):
            yield node.lineno, f"writes by `{name}`"
        elif name in NAMING and any("partial" in text for text in _texts(node.args)):
            yield node.lineno, "gives an unfinished file or folder a fixed name"


def _opened_safely(tree: ast.AST) -> Iterator[str]:
    """Variables that hold what `whole_file` opened, or a buffer in memory."""
    for node in ast.walk(tree):
        if isinstance(node, ast.withitem) and node.optional_vars and "whole_file" in _names([node.context_expr]):
            yield from _names([node.optional_vars])
        elif isinstance(node, ast.Assign) and "BytesIO" in ast.unparse(node.value):
            yield from _names(node.targets)


def _opens_to_write(call: ast.Call) -> bool:
    words = _texts([*call.args, *(keyword.value for keyword in call.keywords)])
    return any(set(word) <= set("rwaxbt+") and set(word) & set("wax+") for word in words)


def _names(nodes: Iterable[ast.AST]) -> set[str]:
    return {part.id for node in nodes for part in ast.walk(node) if isinstance(part, ast.Name)}


def _texts(nodes: Iterable[ast.AST]) -> list[str]:
    parts = (part for node in nodes for part in ast.walk(node) if isinstance(part, ast.Constant))
    return [part.value for part in parts if isinstance(part.value, str)]


def problems(root: Path, exceptions: Mapping[str, str] = EXCEPTIONS) -> list[str]:
    """A sentence for each unsafe write below `root`, and for each exception that nothing needs."""
    sentences, needed = [], set()
    for file in sorted(file for package in PACKAGES for file in (root / package).rglob("*.py")):
        name = file.relative_to(root).as_posix()
        for line, words in unsafe_lines(ast.parse(file.read_text(encoding="utf-8"))):
            needed.add(name)
            if name not in exceptions:
                sentences.append(f"{name}:{line}: {words}; use quant.canonical_json")
    return [
        *sentences,
        *(f"{name}: delete its exception, it writes nothing itself" for name in exceptions if name not in needed),
    ]


def main() -> int:
    sentences = problems(Path(__file__).resolve().parents[1])
    print("\n".join(sentences) or f"no unsafe write outside of {len(EXCEPTIONS)} exceptions")
    return 1 if sentences else 0


if __name__ == "__main__":
    sys.exit(main())
