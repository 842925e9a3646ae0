"""`make pins`: refresh every exact pin, without registry addresses in the result.

The orchestrator's are `constraint-dependencies` in pyproject.toml, between two marker lines; an environment's are
`configs/environments/NAME.txt`, compiled from `NAME.in`. `configs/environments/hashes.json` has the SHA-256 of every
file that PyPI has of each of these; `python -m scripts.pins --hashes` refreshes that alone.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from uv import find_uv_bin

from engines.runtime.installing.pip_config import (
    HASHES,
    PINS_FOLDER,
    adjustment_arguments,
    index_variables,
    pip_settings,
)
from engines.runtime.own_packages import ROOT
from quant.canonical_json import write_json

HOLD = ("fastapi==0.150.0", "prefect==3.8.8")  # Prefect 3.8 breaks with newer FastAPI
PLATFORMS = {
    "sglang-cpu": "x86_64-manylinux_2_34",
    "sglang-cuda": "x86_64-manylinux_2_34",
    "triton": "x86_64-manylinux_2_35",
}  # their wheels ask for these
BEGIN, END = "# pins begin: refreshed by `make pins`", "# pins end"


def uv(*arguments: str, where: Path = ROOT, variables: Mapping[str, str] = MappingProxyType({})) -> str:
    environ = {**os.environ, **variables}
    done = subprocess.run(
        [find_uv_bin(), *arguments], capture_output=True, text=True, check=True, cwd=where, env=environ
    )
    return done.stdout


def pin_orchestrator() -> None:
    """Resolve with only HOLD fixed, then write every version as a constraint."""
    file = ROOT / "pyproject.toml"
    write_constraints(file, list(HOLD))
    uv("lock", "--upgrade")
    exported = uv(
        "export", "--quiet", "--no-hashes", "--no-emit-project", "--no-annotate", "--no-header", "--all-groups"
    )
    pins = sorted({line.strip() for line in exported.splitlines() if "==" in line})
    write_constraints(file, pins)
    uv("lock")


def write_constraints(file: Path, pins: list[str]) -> None:
    lines = "\n".join(f'    "{pin}",' for pin in pins)
    text = file.read_text(encoding="utf-8")
    block = f"{BEGIN}\nconstraint-dependencies = [\n{lines}\n]\n{END}"
    file.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: block, text, flags=re.S), encoding="utf-8")


def pin_environment(source: Path) -> None:
    """Compile one `.in` as its `.excludes` and `.overrides` say; torch loses its local label (+cpu)."""
    on_cpu = "cuda" not in source.stem
    text = uv(
        "pip",
        "compile",
        str(source),
        "--quiet",
        "--python-version",
        "3.11",
        "--python-platform",
        PLATFORMS.get(source.stem, "x86_64-manylinux_2_28"),
        "--no-header",
        "--no-annotate",
        "--no-emit-index-url",
        "--no-emit-find-links",
        *adjustment_arguments(source),
        where=source.parent.parent.parent.parent,
        variables=index_variables(pip_settings()) if on_cpu else {},
    )
    pins = re.sub(r"\+cpu$", "", text, flags=re.M)
    source.with_suffix(".txt").write_text(f"# compiled from {source.name} by `make pins`\n{pins}", encoding="utf-8")


def pin_hashes() -> None:
    """Of every pin the files of PyPI, or of its mirror that uv is set to: pip's extra indexes may have other builds."""
    known: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as place:  # beside our checkout, whose constraints are the orchestrator's
        for pins in sorted(PINS_FOLDER.glob("*.txt")):
            lines = [line.partition(";")[0].strip() for line in pins.read_text(encoding="utf-8").splitlines()]
            wanted = Path(place, pins.name)
            wanted.write_text("\n".join(line for line in lines if "==" in line))
            options = ("--no-deps", "--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url")
            platform = PLATFORMS.get(pins.stem, "x86_64-manylinux_2_28")
            where = ("--quiet", "--python-version", "3.11", "--python-platform", platform)
            text = uv("pip", "compile", str(wanted), *options, *where, where=Path(place))
            for entry in text.replace("\\\n", " ").splitlines():
                pin, *hashes = entry.split()
                known[pin] = " ".join(sorted(part.removeprefix("--hash=sha256:") for part in hashes))
    write_json(PINS_FOLDER / HASHES, dict(sorted(known.items())))


if __name__ == "__main__":
    if "--hashes" not in sys.argv:
        pin_orchestrator()
        for source in sorted(PINS_FOLDER.glob("*.in")):
            print(f"compiling {source.name}")
            pin_environment(source)
    pin_hashes()
