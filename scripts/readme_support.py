"""README's table of what has really run: methods × engines, from the files in `evidence/`. Called by cog."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from functools import cache
from typing import Any

from engines.registry import engines_by_name, formats_of
from quant.registry import Method, methods
from scripts.readme import FORMATS, ROOT


def support_table(method_names: str, engine_names: str) -> str:
    """CPU, GPU: measured there, by a file in `evidence/`; ?: declared, not measured by us; blank: not loaded."""
    ran, engines = _ran(), engine_names.split()
    lines = ["| | " + " | ".join(f"`{name}`" for name in engines) + " |", "|---|" + ":-:|" * len(engines)]
    for name in method_names.split():
        cells = [
            ", ".join(sorted(ran.get((name, engine), ()))) or _declared(methods()[name], engine) for engine in engines
        ]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _declared(method: Method, engine: str) -> str:
    defaults = {parameter.name: parameter.default for parameter in method.parameters}
    written = FORMATS if method.name == "existing" else [method.format(defaults)]
    return "?" if set(written) & set(formats_of(engines_by_name()[engine], FORMATS)) else " "


@cache
def _ran() -> dict[tuple[str, str], set[str]]:
    """The devices on which each method was measured in each engine."""
    devices: dict[tuple[str, str], set[str]] = {}
    for method, engine, device in (*_summaries(), *_trials()):
        devices.setdefault((method, engine), set()).add("GPU" if "NVIDIA" in device else "CPU")
    return devices


def _summaries() -> Iterator[tuple[str, str, str]]:
    """Of runs' `--json` outputs: (method, engine, device)."""
    for file in sorted((ROOT / "evidence").glob("*.json")):
        data = json.loads(file.read_text(encoding="utf-8"))
        for cell in data["cells"]:
            if cell.get("status") == "ok":
                method, engine = cell["cell"].split(" · ")[:2]
                yield method.split()[0], engine.split()[0], data["sweep"]["device"]


def _trials() -> Iterator[tuple[str, str, str]]:
    """Of packed runs."""
    for file in sorted((ROOT / "evidence").rglob("*.tar.xz")):
        with tarfile.open(file) as archive:
            for member in archive.getmembers():
                if "trials/" in member.name and member.name.endswith(".json"):
                    content = archive.extractfile(member)
                    trial: dict[str, Any] = json.load(content) if content else {}
                    if trial.get("status") == "ok":
                        yield trial["method"], trial["engine"], trial["device"]
