"""NVML of a machine with two made-up GPUs, which every process on it uses. No figure of it is ever a result.

`plant` puts its functions into NVIDIA's library in this process, `plant_in_children` into that of child processes.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import psutil
import pynvml as real

WATTS = (100.0, 300.0)


class Process:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.usedGpuMemory = 1_000_000


def nvmlInit() -> None:
    pass


def nvmlShutdown() -> None:
    pass


def nvmlDeviceGetCount() -> int:
    return len(WATTS)


def nvmlDeviceGetHandleByIndex(index: int) -> int:
    return index


def nvmlDeviceGetComputeRunningProcesses(handle: int) -> list[Process]:
    return [Process(pid) for pid in psutil.pids()]


def nvmlDeviceGetPowerUsage(handle: int) -> int:
    return int(1000 * WATTS[handle])


def nvmlDeviceGetTotalEnergyConsumption(handle: int) -> int:
    """Of a GPU that always draws the same; the second one has no counter."""
    if handle == 1:
        raise _not_supported()
    return int(1000 * WATTS[handle] * time.perf_counter())


def nvmlDeviceGetClockInfo(handle: int, kind: int) -> int:
    return 1500


def nvmlDeviceGetTemperature(handle: int, sensor: int) -> int:
    return 60 + handle


def nvmlDeviceGetCurrentClocksEventReasons(handle: int) -> int:
    """The second one is slowed down by its power limit, and idle besides."""
    return (real.nvmlClocksEventReasonSwPowerCap | real.nvmlClocksEventReasonGpuIdle) if handle else 0


def _not_supported() -> Exception:
    error: Exception = real.NVMLError(real.NVML_ERROR_NOT_SUPPORTED)
    return error


FUNCTIONS = {name: value for name, value in globals().items() if name.startswith("nvml")}


def plant(monkeypatch: Any, **others: Any) -> None:
    """Put these functions into the real library; `others` take the place of some of them."""
    for name, function in (FUNCTIONS | others).items():
        monkeypatch.setattr(real, name, function)


IN_A_CHILD = """
import importlib.machinery
import importlib.util
import sys

# NVIDIA's own library, which this file hides, and then what is planted
found = importlib.machinery.PathFinder.find_spec("pynvml", [one for one in sys.path if one.endswith("-packages")])
found.loader.exec_module(sys.modules[__name__])
planted = importlib.util.spec_from_file_location("planted", {file!r})
planted_module = importlib.util.module_from_spec(planted)
planted.loader.exec_module(planted_module)
globals().update(planted_module.FUNCTIONS)
"""


def plant_in_children(folder: Path, monkeypatch: Any, text: str | None = None) -> None:
    """Let children import a `pynvml.py` of these functions (or of `text`) from `folder`."""
    from engines.runtime import process  # children import this file too

    (folder / "pynvml.py").write_text(IN_A_CHILD.format(file=__file__) if text is None else text)
    places = f"{folder}{os.pathsep}{process.import_folder()}"
    monkeypatch.setattr(process, "import_folder", lambda: places)
