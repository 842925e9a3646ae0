"""What else the machine did while a server was timed: other processes' CPU time, steal, and a known piece of work.

The known work (a sentinel) runs before a server starts: where it is slower than it usually is on this machine, so will
be whatever is timed next. Counters are those of the CPUs that this process may use (proc(5), `/proc/stat`); pressure is
the kernel's (Documentation/accounting/psi.rst): microseconds for which some task waited for a CPU.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import psutil

from engines.runtime.process import Child

STAT, PRESSURE = Path("/proc/stat"), Path("/proc/pressure/cpu")
HASHED, COPIED = 4 << 20, 32 << 20  # bytes at once: within a cache, and outside of it
SENTINEL_SECONDS = 0.3  # of each of its two halves
FOREIGN_SHARE = STEAL_SHARE = 0.1  # of the CPUs' time; more, and the timing is not the server's alone
SLOW_SENTINEL = 0.85  # of the median of earlier ones
LEAST_EARLIER = 3


@dataclass(frozen=True)
class Sentinel:
    """Bytes per second that were hashed (SHA-256: arithmetic) and copied (memory), all threads together."""

    hashed: float
    copied: float


def sentinel(threads: int) -> Sentinel:
    """A known piece of work on so many threads."""
    data = os.urandom(HASHED)
    source, sinks = np.ones(COPIED, dtype=np.uint8), [np.empty(COPIED, dtype=np.uint8) for _ in range(threads)]

    def hash_all(until: float, _: int) -> int:
        count = 0
        while not count or time.perf_counter() < until:  # a thread may be kept waiting until then: none does nothing
            hashlib.sha256(data).digest()
            count += HASHED
        return count

    def copy_all(until: float, thread: int) -> int:
        count = 0
        while not count or time.perf_counter() < until:
            np.copyto(sinks[thread], source)
            count += COPIED
        return count

    rates = []
    with ThreadPoolExecutor(threads) as pool:
        for work in (hash_all, copy_all):
            began = time.perf_counter()
            done = sum(pool.map(work, [began + SENTINEL_SECONDS] * threads, range(threads)))
            rates.append(done / (time.perf_counter() - began))
    return Sentinel(*rates)


@dataclass(frozen=True)
class Counters:
    """At one moment: CPU-seconds of all on our CPUs, of our own processes, and stolen by the hypervisor."""

    at_seconds: float
    cpus: int
    busy_seconds: float
    own_seconds: float
    stolen_seconds: float
    pressure_seconds: float


@dataclass(frozen=True)
class Disturbance:
    """Shares of the time of the CPUs that this process may use: `foreign` went to processes that are not ours, `steal`
    to other virtual machines; `pressure` is the share of the time for which some task waited for a CPU. `load_average`
    is that of the last minute.
    """

    foreign: float
    steal: float
    pressure: float
    load_average: float

    @property
    def reasons(self) -> list[str]:
        """Why what was timed meanwhile is to be timed again; none where it is not."""
        return [
            f"{name} {100 * share:.0f} % of the CPUs' time (at most {100 * most:.0f} %)"
            for name, share, most in (
                ("other processes used", self.foreign, FOREIGN_SHARE),
                ("the hypervisor took", self.steal, STEAL_SHARE),
            )
            if share > most
        ]


def slow_sentinel(now: Sentinel, earlier: Sequence[Sentinel]) -> list[str]:
    """How much slower than the earlier ones it is, where it is much; nothing is known of the first few."""
    if len(earlier) < LEAST_EARLIER:
        return []
    shares = {
        "hashing": now.hashed / median(before.hashed for before in earlier),
        "copying": now.copied / median(before.copied for before in earlier),
    }
    return [
        f"{name} was {100 * (1 - share):.0f} % slower than usual here (at most {100 * (1 - SLOW_SENTINEL):.0f} %)"
        for name, share in shares.items()
        if share < SLOW_SENTINEL
    ]


class CpuWatch:
    """Counts from its making on; the server's processes are those of `child`, the client's those of this process."""

    def __init__(self, child: Child | None) -> None:
        self._child = child
        self._before = self._read()

    def disturbance(self) -> Disturbance:
        """Since it was made."""
        before, now = self._before, self._read()
        seconds = max(now.at_seconds - before.at_seconds, 1e-9)
        total = seconds * now.cpus
        own = max(now.own_seconds - before.own_seconds, 0.0)
        return Disturbance(
            foreign=max(now.busy_seconds - before.busy_seconds - own, 0.0) / total,
            steal=max(now.stolen_seconds - before.stolen_seconds, 0.0) / total,
            pressure=min((now.pressure_seconds - before.pressure_seconds) / seconds, 1.0),
            load_average=os.getloadavg()[0],
        )

    def _read(self) -> Counters:
        cpus = os.sched_getaffinity(0)
        busy, stolen = _cpu_seconds(cpus)
        ours = psutil.Process()
        above = ours.parents()[:2]  # the supervisor of this process, and the sweep that started it
        own = [ours, *above, *(self._child.tree() if self._child else ())]
        waited = 0.0  # where the kernel does not tell
        with contextlib.suppress(OSError, ValueError, IndexError):
            waited = int(PRESSURE.read_text(encoding="ascii").splitlines()[0].split("total=")[1]) / 1e6
        return Counters(time.perf_counter(), len(cpus), busy, _used_seconds(own), stolen, waited)


def _used_seconds(processes: Sequence[psutil.Process | None]) -> float:
    """Of these processes, and of their children that have ended."""
    used = 0.0
    for process in filter(None, processes):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            times = process.cpu_times()
            used += times.user + times.system + times.children_user + times.children_system
    return used


def _cpu_seconds(cpus: set[int]) -> tuple[float, float]:
    """(busy, stolen) CPU-seconds of these CPUs since the machine was started; zeros where the kernel does not tell."""
    tick = os.sysconf("SC_CLK_TCK")
    busy = stolen = 0.0
    with contextlib.suppress(OSError):
        for line in STAT.read_text(encoding="ascii").splitlines():
            name, *values = line.split()
            if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cpus:
                user, nice, system, _, _, irq, softirq, steal, *_ = map(int, values)
                busy += user + nice + system + irq + softirq
                stolen += steal
    return busy / tick, stolen / tick
