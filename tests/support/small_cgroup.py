"""A cgroup with the limits of a small container, of either version of cgroups."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
PERIOD_US = 100_000


@contextlib.contextmanager
def small_cgroup(memory_bytes: int, cpus: float) -> Iterator[list[Path]]:
    """The files into which a process writes its number to join it. What is still in it at the end is killed. Raises
    OSError where this user may make none.
    """
    quota = int(cpus * PERIOD_US)
    if (CGROUPS / "cgroup.controllers").exists():
        limits = {CGROUPS: {"memory.max": str(memory_bytes), "cpu.max": f"{quota} {PERIOD_US}"}}
        (CGROUPS / "cgroup.subtree_control").write_text("+memory +cpu")
    else:
        memory = {"memory.limit_in_bytes": str(memory_bytes)}
        limits = {CGROUPS / "memory": memory, CGROUPS / "cpu": {"cpu.cfs_quota_us": str(quota)}}
    folders = {parent / f"bitfrontier-{os.getpid()}": files for parent, files in limits.items()}
    try:
        for folder, files in folders.items():
            folder.mkdir()
            for name, limit in files.items():
                (folder / name).write_text(limit)
        yield [folder / "cgroup.procs" for folder in folders]
    finally:
        for folder in folders:
            _remove(folder)


def _remove(folder: Path) -> None:
    end = time.monotonic() + 10
    while folder.exists() and time.monotonic() < end:
        for number in map(int, (folder / "cgroup.procs").read_text().split()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        with contextlib.suppress(OSError):  # the kernel still counts those that just ended
            folder.rmdir()
        time.sleep(0.05)
