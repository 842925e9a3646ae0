"""`python scripts/single_use_helpers.py`: a private function that is used once and holds little hides a line.

Counts functions of the five packages with a leading underscore, without a decorator, whose body spans at most
LINES lines without its docstring and whose name is referenced once in its file, by a call: what is handed over (a
handler, the entry of a table) must have a name. A few are worth theirs, which says what the line does not: ends with 1
where there are more than LIMIT.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("quant", "engines", "evals", "reports", "flows")
LINES = 4
LIMIT = 38


def single_use_helpers(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, name) of every short private function that its module uses once."""
    uses = Counter(_name(node) for node in ast.walk(tree))
    calls = {_name(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call) and not _of_base(node.func)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_private(node):
            if uses[node.name] != 1 or node.name not in calls:
                continue
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            if body and (body[-1].end_lineno or body[-1].lineno) - body[0].lineno < LINES:
                yield node.lineno, node.name


def _of_base(node: ast.AST) -> bool:
    """Whether it is `super().name`."""
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Call) and _name(node.value.func) == "super"


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _is_private(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return node.name.startswith("_") and not node.name.startswith("__") and not node.decorator_list


def main() -> int:
    files = [file for package in PACKAGES for file in sorted(Path(package).rglob("*.py"))]
    places = [
        f"{file}:{line}: {name}"
        for file in files
        for line, name in single_use_helpers(ast.parse(file.read_text(encoding="utf-8")))
    ]
    summary = f"{len(places)} private functions of at most {LINES} lines are used once (limit {LIMIT})"
    print("\n".join([*places, f"{summary}: write some where they are used"] if len(places) > LIMIT else [summary]))
    return 1 if len(places) > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
