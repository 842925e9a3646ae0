"""`python scripts/sizes.py`: modules of at most 300 lines, folders of at most 12 modules.

Of the five packages, scripts and tests (of whose folders the number is free). Plug-ins are a module each, however many
there are. Ends with 1 where something is larger.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

PACKAGES = ("quant", "engines", "evals", "reports", "flows", "scripts")
PLUGINS = ("quant/methods", "engines/servers")
LINES, MODULES = 300, 12


def too_large(root: Path) -> list[str]:
    """A sentence for each module and each folder below `root` that is too large."""
    modules = [file for package in PACKAGES for file in sorted((root / package).rglob("*.py"))]
    tests = sorted((root / "tests").rglob("*.py"))
    lines = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in [*modules, *tests]}
    counts = Counter(file.parent.relative_to(root).as_posix() for file in modules if file.name != "__init__.py")
    return [
        *(
            f"{file.relative_to(root)}: {count} lines (at most {LINES})"
            for file, count in lines.items()
            if count > LINES
        ),
        *(
            f"{folder}: {count} modules (at most {MODULES})"
            for folder, count in sorted(counts.items())
            if count > MODULES and folder not in PLUGINS
        ),
    ]


def main() -> int:
    sentences = too_large(Path(__file__).resolve().parents[1])
    print("\n".join([*sentences, "split by concern"]) if sentences else "no module and no folder is too large")
    return 1 if sentences else 0


if __name__ == "__main__":
    sys.exit(main())
