"""Memory and GPUs of a server, sampled by a process of its own so that the load client is not disturbed.

`python -m engines.telemetry.sampler PID KIND FILE` samples the tree below PID until SIGTERM, and then once more. Each
line of FILE is a JSON object: `readings` of all GPUs, and now and then `memory_bytes` with `seconds`, when, and `used`,
the GPUs that the tree uses. Memory is PSS where KIND is "cpu", and NVML's bytes of the tree's processes where it is
"cuda". Times are on the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from engines.runtime.entry_points import SAMPLER
from engines.runtime.process import Child, ProcessFailed, descendants, running
from engines.telemetry import gpu
from engines.telemetry.gpu import Handle, Reading
from engines.telemetry.process_memory import gpu_process_bytes, tree_pss_bytes

MEMORY_SECONDS = 0.5  # more often would cost the server: reading PSS holds its page tables
POWER_SECONDS = 0.1
START_SECONDS = 60.0
POLL_SECONDS = 0.02


@dataclass
class Watch:
    """What was seen of a server: `memory_bytes` of each sample and when, every reading of a GPU, and the GPUs that it
    used.
    """

    memory_bytes: list[int] = field(default_factory=list)
    memory_seconds: list[float] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    used: set[int] = field(default_factory=set)

    @property
    def loaded_bytes(self) -> int:
        """Of the first sample, before the block began."""
        return self.memory_bytes[0]

    @property
    def peak_bytes(self) -> int:
        return max(self.memory_bytes)

    def memory_samples(self, most: int = 200) -> tuple[tuple[float, int], ...]:
        """(seconds since the first one, bytes); where there are more, the highest of each of so many equal parts."""
        step = -(-len(self.memory_bytes) // most)
        spans = [
            range(start, min(start + step, len(self.memory_bytes))) for start in range(0, len(self.memory_bytes), step)
        ]
        highest = [max(span, key=lambda index: self.memory_bytes[index]) for span in spans]
        first = self.memory_seconds[0]
        return tuple((round(self.memory_seconds[index] - first, 3), self.memory_bytes[index]) for index in highest)

    def readings_of(self, devices: int) -> list[Reading]:
        """Those of the GPUs that the server used. Where no process of it is seen on any (in a container), they are all
        GPUs if it was to use as many; else that is not known, and there are none.
        """
        all_of_them = {reading.gpu for reading in self.readings}
        used = self.used or (all_of_them if len(all_of_them) == devices else set())
        return [reading for reading in self.readings if reading.gpu in used]


@contextlib.contextmanager
def watch(child: Child, kind: str) -> Iterator[Watch]:
    """Sample the child's tree until the block ends; what was seen is there after it.

    Raises ProcessFailed where the sampler does not start, or ended before the block did.
    """
    with tempfile.TemporaryDirectory() as folder:
        file, log, seen = Path(folder) / "samples", Path(folder) / "log", Watch()
        command = [sys.executable, "-m", SAMPLER, str(child.guard.pid), kind, str(file)]
        with running(command, {}, log) as sampler:
            _wait_for_a_sample(sampler, file)
            yield seen
        if sampler.returncode:
            raise ProcessFailed(f"the sampler of memory ended with exit code {sampler.returncode}", log)
        for line in file.read_text(encoding="utf-8").splitlines():
            _add(seen, json.loads(line))


def _wait_for_a_sample(sampler: Child, file: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and sampler.returncode is None:
        if file.exists() and file.stat().st_size:
            return
        time.sleep(POLL_SECONDS)
    outcome = "ended" if sampler.returncode is not None else f"said nothing in {START_SECONDS:g} s"
    raise ProcessFailed(f"the sampler of memory {outcome}", sampler.log)


def _add(seen: Watch, line: dict[str, Any]) -> None:
    if "memory_bytes" in line:
        seen.memory_bytes.append(line["memory_bytes"])
        seen.memory_seconds.append(line["seconds"])
        seen.used |= set(line["used"])
    seen.readings += [Reading(**reading) for reading in line["readings"]]


def samples(pid: int, kind: str, handles: Sequence[Handle], done: threading.Event) -> Iterator[dict[str, Any]]:
    """One after the other until `done`, and one more."""
    memory_due = 0.0
    last = False
    while not last:
        last = done.is_set()
        line: dict[str, Any] = {"readings": [asdict(gpu.read(index, handle)) for index, handle in enumerate(handles)]}
        if last or time.perf_counter() >= memory_due:
            memory_due = time.perf_counter() + MEMORY_SECONDS
            line |= {"seconds": time.perf_counter(), **_memory(descendants(pid), kind, handles)}
        yield line
        done.wait(POWER_SECONDS if handles else MEMORY_SECONDS)


def _memory(tree: Sequence[psutil.Process], kind: str, handles: Sequence[Handle]) -> dict[str, Any]:
    if kind == "cpu":
        return {"memory_bytes": tree_pss_bytes(tree), "used": []}
    pids = {process.pid for process in tree}
    held = {gpu: gpu_process_bytes(handle, pids) for gpu, handle in enumerate(handles)}
    used = {gpu: size for gpu, size in held.items() if size is not None}
    return {"memory_bytes": sum(used.values()), "used": list(used)}


def main() -> None:
    """Sample until SIGTERM."""
    pid, kind, file = sys.argv[1:]
    done = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    with Path(file).open("w", encoding="utf-8") as out, contextlib.ExitStack() as stack:
        handles = stack.enter_context(gpu.gpus()) if kind == "cuda" else []
        for line in samples(int(pid), kind, handles, done):
            out.write(json.dumps(line) + "\n")
            out.flush()


if __name__ == "__main__":
    main()
