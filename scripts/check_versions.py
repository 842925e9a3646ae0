"""`python -m scripts.check_versions`: has anything changed that a version covers, without that version being raised?

It compares the syntax trees of the covered files (no comments, no docstrings, imports in any order) with those recorded
in `scripts/versions.json`. `--record` writes that file: after a version was raised, or where results are unchanged.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.registry import engines_by_name
from flows import versions
from quant.canonical_json import write_json
from quant.registry import methods

ROOT = Path(__file__).resolve().parent.parent
RECORD = Path("scripts/versions.json")
COMMAND = "uv run python -m scripts.check_versions --record"
SHARED = ("quant/methods/", "quant/tools/", "engines/servers/")  # what is imported from here belongs to who imports it


@dataclass(frozen=True)
class Covered:
    """A version: what its name and number are, where it is raised, and which files it covers."""

    name: str
    number: int
    place: str
    files: tuple[str, ...]


@functools.cache  # several versions cover one file
def syntax_digest(text: str) -> str:
    """Of what a module does: two texts with the same one differ in comments, docstrings, layout or import order."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [line for line in body if not _is_text(line)] or [ast.Pass()]  # type: ignore[attr-defined]
    imports = sorted(ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom))
    rest = [ast.unparse(node) for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    return hashlib.sha256("\n".join([*imports, *rest]).encode()).hexdigest()[:16]


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def matching(root: Path, patterns: Sequence[str]) -> list[str]:
    """The files below `root` that any of the patterns names, relative to it."""
    return sorted({file.relative_to(root).as_posix() for pattern in patterns for file in root.glob(pattern)})


def with_imports(root: Path, file: str) -> tuple[str, ...]:
    """A method's or engine's file, with what it imports of its own kind, and what that imports."""
    reached, waiting = {file}, [file]
    while waiting:
        for name in _imported((root / waiting.pop()).read_text(encoding="utf-8")):
            path = f"{name.replace('.', '/')}.py"
            if path.startswith(SHARED) and path not in reached and (root / path).is_file():
                reached.add(path)
                waiting.append(path)
    return tuple(sorted(reached))


@functools.cache  # several methods and engines import one file
def _imported(text: str) -> tuple[str, ...]:
    names: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


def all_versions(root: Path = ROOT) -> list[Covered]:
    """Of measuring, scoring …, and of each method and engine of this project; others answer for their own."""
    listed = [
        Covered(name, getattr(versions, name), "flows/versions.py", tuple(matching(root, patterns)))
        for name, patterns in versions.COVERS.items()
    ]
    declared = [(f"method {entry.name}", entry.version, entry.file) for entry in methods().values()]
    declared += [(f"engine {entry.name}", entry.version, entry.file) for entry in engines_by_name().values()]
    for name, number, place in declared:
        if Path(place).is_relative_to(ROOT):
            file = Path(place).relative_to(ROOT).as_posix()
            if (root / file).is_file():
                listed.append(Covered(name, number, file, with_imports(root, file)))
    return listed


def problems(root: Path, covered: Sequence[Covered], recorded: Mapping[str, Mapping[str, object]]) -> list[str]:
    """What must be raised, recorded or listed, a sentence each."""
    lines = []
    for version in covered:
        before = recorded["versions"].get(version.name)
        if before is None:
            lines.append(
                f"{version.name} ({version.place}) is new and not recorded, so nothing watches it: `{COMMAND}`"
            )
        elif before != version.number:
            lines.append(f"{version.name} is {version.number} and recorded as {before}: `{COMMAND}`")
        elif changed := [file for file in version.files if recorded["files"].get(file) != digest_of(root, file)]:
            lines.append(
                f"{version.name} covers {', '.join(changed)}, which changed: raise it in {version.place}, or record "
                f"that results are unchanged: `{COMMAND}`"
            )
    known = {file for version in covered for file in version.files} | set(matching(root, versions.DECIDES_NO_RESULT))
    lines += [
        f"{file} is covered by no version: name it in COVERS or DECIDES_NO_RESULT of flows/versions.py"
        for file in matching(root, versions.MEASURING)
        if file not in known
    ]
    return lines


def digest_of(root: Path, file: str) -> str:
    return syntax_digest((root / file).read_text(encoding="utf-8"))


def record(root: Path, covered: Sequence[Covered]) -> None:
    """Write what is now: numbers by version, digests by file."""
    files = sorted({file for version in covered for file in version.files})
    numbers = {version.name: version.number for version in covered}
    write_json(root / RECORD, {"versions": numbers, "files": {file: digest_of(root, file) for file in files}})


def main() -> int:
    covered = all_versions()
    if "--record" in sys.argv[1:]:
        record(ROOT, covered)
    lines = problems(ROOT, covered, json.loads((ROOT / RECORD).read_text(encoding="utf-8")))
    print("\n".join(lines) or f"{len(covered)} versions cover what they did when they were recorded")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
