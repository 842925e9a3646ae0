"""How fast this device's memory can be read, measured once per machine and kept under the cache folder.

One number to hold decoding against: a token at batch 1 cannot come faster than its weights are read (Williams, Waterman
and Patterson, Roofline, Communications of the ACM 52, 2009). A child process measures: what it takes is given back.
"""

from __future__ import annotations

import json
import logging
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.runtime.cache import cache_folder, create_cache
from engines.runtime.child_environment import child_environment
from engines.runtime.environments import PROGRAMS, Environment
from engines.runtime.own_packages import ROOT, import_folder
from engines.telemetry.machine import this_machine
from engines.types import Device
from quant.canonical_json import read_note, write_json
from quant.checkpoints.safetensors import hash_file
from quant.hashing import digest

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 120.0
PROGRAM = {"cpu": "bandwidth_cpu", "cuda": "bandwidth_cuda"}


@dataclass(frozen=True)
class Bandwidth:
    """Bytes per second: the highest of `repeats`, which is what the memory can do, with their median and lowest.

    `how` says what was timed. Far apart, they say that something else used the memory meanwhile.
    """

    bytes_per_second: float
    median_bytes_per_second: float
    lowest_bytes_per_second: float
    repeats: int
    how: str


def memory_bandwidth(device: Device, threads: int, environments: Sequence[Environment]) -> Bandwidth | None:
    """Of `device` with that many threads, measured unless it was before; None where nothing could measure it.

    A CPU is measured by this interpreter, a GPU by the first of `environments` that has torch; nothing else should run
    on the device meanwhile.
    """
    known = known_bandwidth(device, threads)
    if known is not None:
        return known
    module = f"engines.telemetry.{PROGRAM[device.kind]}"
    for argv in _commands(device, ["-m", module, *([str(threads)] if device.kind == "cpu" else [])], environments):
        logger.info("measuring the memory bandwidth by %s", module)
        measured = _measure(argv)
        if measured is not None:
            create_cache()
            file = _kept_file(device, threads)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, {"device": device.name, "threads": threads, "bandwidth": measured})
            return measured
    return None


def known_bandwidth(device: Device, threads: int) -> Bandwidth | None:
    """What was measured before; None where nothing was."""
    figures = read_note(_kept_file(device, threads)).get("bandwidth")
    return (
        Bandwidth(**figures)
        if isinstance(figures, dict) and figures.keys() == Bandwidth.__annotations__.keys()
        else None
    )


def _kept_file(device: Device, threads: int) -> Path:
    program = hash_file(ROOT / "engines" / "telemetry" / f"{PROGRAM[device.kind]}.py")
    machine = this_machine(device.kind).described()  # two of one name differ in cores, channels or limits
    described = [device.kind, machine, threads if device.kind == "cpu" else None, program]
    return cache_folder() / "bandwidth" / f"{digest(described)[:16]}.json"


def _commands(device: Device, arguments: Sequence[str], environments: Sequence[Environment]) -> list[list[str]]:
    if device.kind == "cpu":
        return [[sys.executable, *arguments]]
    return [
        environment.argv(arguments, {"PYTHONPATH": str(import_folder())})
        for environment in environments
        if environment.name not in PROGRAMS
    ]


def _measure(argv: Sequence[str]) -> Bandwidth | None:
    # numpy's BLAS must not start threads of its own beside those that are counted
    variables = {"PYTHONPATH": str(import_folder())} | {
        f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "MKL", "OMP", "BLIS")
    }
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            env=child_environment(variables),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0 or not done.stdout.strip():
        return None
    output = json.loads(done.stdout.splitlines()[-1])
    rates = [float(rate) for rate in output["bytes_per_second"]]
    return Bandwidth(max(rates), statistics.median(rates), min(rates), len(rates), str(output["how"]))
