"""What a sweep says first, after what is not ours: which Prefect server, package sources and devices it uses, and how
long it is likely to take.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from prefect.settings import PREFECT_API_URL

from engines.redaction import redacted
from engines.runtime.installing.pip_config import pip_files, pip_settings
from engines.telemetry.device import driver_version
from evals.schema.run_file import NoRun, read_run
from flows.orchestration.api_server import unwatched
from flows.validate.estimate import estimate
from flows.validate.resolved import ResolvedPlan
from quant.errors import counted
from reports.output.formatting import about_duration

UV_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_CONFIG_FILE")


def head(sweep: ResolvedPlan) -> list[str]:
    """The lines, without credentials."""
    address = PREFECT_API_URL.value() or "one that Prefect starts for this run"
    server = f"Prefect server: {'our own, for this sweep' if unwatched.get() else address}"
    return [redacted(line) for line in (server, _sources(), _devices(sweep))]


def forecast_line(sweep: ResolvedPlan, runs: Path) -> str:
    """Of the whole sweep, and how many of its cells were measured before."""
    folder, guess, measured = runs / sweep.plan.name, estimate(sweep, runs), 0
    with contextlib.suppress(NoRun):
        measured = sum((folder / "trials" / name).exists() for name in read_run(folder)["trials"])
    before = f"; {measured} of {counted(len(sweep.cells), 'cell')} ended before" if measured else ""
    return f"forecast: {about_duration(guess.seconds, guess.factor)}, without environments and downloads{before}"


def _sources() -> str:
    """uv reads its own settings before those of pip."""
    settings = [f"{name}={os.environ[name]}" for name in UV_VARIABLES if os.environ.get(name)]
    settings += [f"{name} {' '.join(values)}" for name, values in pip_settings().items()]
    files = f" (pip configuration: {', '.join(map(str, pip_files()))})" if pip_files() else ""
    return f"packages from: {'; '.join(settings) or 'PyPI, no other index is configured'}{files}"


def _devices(sweep: ResolvedPlan) -> str:
    device = sweep.device
    threads = f", {counted(sweep.plan.thread_count, 'thread')} for engines"
    slots = f" ({', '.join(device.slots)})" if device.kind == "cuda" else threads
    driver = f", driver {driver_version()}" if device.kind == "cuda" else ""
    return f"device: {device.name}{slots}{driver}"
