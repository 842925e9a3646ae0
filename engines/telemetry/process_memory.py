"""Who holds which bytes: PSS of a process tree on a CPU, NVML's per-process bytes on a GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import psutil
import pynvml

from engines.telemetry.gpu import Handle


def tree_pss_bytes(processes: Sequence[psutil.Process]) -> int:
    """Proportional set size: private bytes plus each shared page divided by the processes that share it."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError):
            total += process.memory_full_info().pss
    return total


def gpu_process_bytes(handle: Handle, pids: set[int]) -> int | None:
    """Device memory of one GPU that NVML attributes to `pids`; None where none of them uses it, or it does not tell."""
    try:
        ours = [process for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle) if process.pid in pids]
    except pynvml.NVMLError:
        return None
    return sum(int(process.usedGpuMemory or 0) for process in ours) if ours else None
