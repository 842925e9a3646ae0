"""Who holds which bytes: PSS of a process tree on a CPU, NVML's per-process bytes on a GPU."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import psutil
import pynvml

from engines.process import Child

SAMPLE_SECONDS = 0.5


def tree_pss_bytes(processes: Sequence[psutil.Process]) -> int:
    """Proportional set size: private bytes plus each shared page divided by the processes that share it."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError):
            total += process.memory_full_info().pss
    return total


def gpu_process_bytes(pids: set[int]) -> int:
    """Device memory that NVML attributes to `pids`, over all GPUs; 0 without a GPU."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    try:
        total = 0
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle):
                total += int(process.usedGpuMemory or 0) if process.pid in pids else 0
        return total
    finally:
        pynvml.nvmlShutdown()


@dataclass
class Watch:
    """Peaks seen while watching. `samples` are (host PSS bytes, device bytes), one every SAMPLE_SECONDS."""

    samples: list[tuple[int, int]] = field(default_factory=list)

    @property
    def peak_host_bytes(self) -> int:
        return max((host for host, _ in self.samples), default=0)

    @property
    def peak_device_bytes(self) -> int:
        return max((device for _, device in self.samples), default=0)


def sample(child: Child) -> tuple[int, int]:
    """(host PSS bytes, device bytes) of a child's tree now."""
    tree = child.tree()
    return tree_pss_bytes(tree), gpu_process_bytes({process.pid for process in tree})


@contextlib.contextmanager
def watch(child: Child) -> Iterator[Watch]:
    """Sample the child's tree in a thread until the block ends."""
    seen, done = Watch(), threading.Event()

    def loop() -> None:
        while not done.is_set():
            seen.samples.append(sample(child))
            done.wait(SAMPLE_SECONDS)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()
        seen.samples.append(sample(child))
