"""`python scripts/forbidden_identifiers.py`: words that say nothing of what they hold are no identifiers.

A loop variable is named after its element: cell, trial, request, method. Ends with 1 where such a word is bound.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FORBIDDEN = {"one", "found", "told", "what", "kept", "whole", "said", "some", "it", "thing", "things", "stuff", "whose"}
FOLDERS = ("quant", "engines", "evals", "reports", "flows", "benchmarks", "scripts", "tests")
NAMED = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.ExceptHandler | ast.MatchAs | ast.MatchStar


def bound(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, name) of everything that is given a name in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, NAMED) and node.name:
            yield node.lineno, node.name
        elif isinstance(node, ast.MatchMapping) and node.rest:
            yield node.lineno, node.rest
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.lineno, alias.asname) for alias in node.names if alias.asname)


def main() -> int:
    files = [file for folder in FOLDERS for file in sorted(Path(folder).rglob("*.py"))]
    wrong = [
        f"{file}:{line}: '{name}' says nothing of what it holds; name it after its element"
        for file in files
        for line, name in bound(ast.parse(file.read_text(encoding="utf-8")))
        if name.lower().strip("_") in FORBIDDEN
    ]
    print("\n".join(wrong) or f"{len(files)} files: no forbidden identifier")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
