"""Starting and stopping child processes so that none is ever left behind (see `engines.runtime.supervisor`)."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from engines.runtime.child_environment import child_environment
from engines.runtime.entry_points import SUPERVISOR
from engines.runtime.own_packages import import_folder
from quant.errors import BitfrontierError
from quant.progress import VARIABLE as PROGRESS_VARIABLE

STOP_SECONDS = 30.0
LOG_TAIL_LINES = 25
LOG_END = "; the end of "
VMSTAT = Path("/proc/vmstat")


class ProcessFailed(BitfrontierError):
    """A child process ended badly or said nothing in time. With `log`, the message ends with its last lines."""

    def __init__(self, message: str, log: Path | None = None) -> None:
        super().__init__(message if log is None else f"{message}{LOG_END}{log}:\n{tail(log)}")


def split_log(text: str) -> tuple[str, str]:
    """What a message says by itself, and the last lines of the log that follow (empty where there are none)."""
    message, _, rest = text.partition(LOG_END)
    return message, rest.partition(":\n")[2]


@dataclass
class Child:
    """A guarded process. `progress` is the reading end of its progress channel, `oom_kills` the kernel's count of
    processes that it killed for want of memory when this one was started.
    """

    guard: subprocess.Popen[bytes]
    log: Path
    progress: int
    oom_kills: int

    @property
    def returncode(self) -> int | None:
        return self.guard.poll()

    @property
    def ending(self) -> str:
        """How it ended, in words; a SIGKILL is the kernel's where its count of such kills has risen."""
        words = _ending(self.guard.wait())
        starved = words == "signal SIGKILL" and oom_kills() > self.oom_kills
        return f"{words}, by the kernel for want of memory" if starved else words

    def tree(self) -> list[psutil.Process]:
        """The command and all that it started, without the guard."""
        return descendants(self.guard.pid)


def descendants(pid: int) -> list[psutil.Process]:
    """All that a process started, and what those started; nothing where it is gone."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _ending(code: int) -> str:
    try:
        return f"signal {signal.Signals(code - 128 if code > 128 else -code).name}"
    except ValueError:
        return f"exit code {code}"


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory since it started (`oom_kill` of /proc/vmstat)."""
    counts = dict(line.split() for line in VMSTAT.read_text().splitlines())
    return int(counts.get("oom_kill", 0))


def start(command: Sequence[str], variables: Mapping[str, str], log: Path, *, fetches: bool = False) -> Child:
    """Run `command` under a guard with our packages on PYTHONPATH; output goes to `log`.

    Of the user's variables it gets those of `engines.runtime.child_environment`, and with `fetches` proxies and tokens.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe()
    ours = {"PYTHONPATH": str(import_folder()), PROGRESS_VARIABLE: str(writing)}
    environment = child_environment({**variables, **ours}, fetches=fetches)
    kills = oom_kills()
    with log.open("ab") as output:
        guard = subprocess.Popen(
            [sys.executable, "-m", SUPERVISOR, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            pass_fds=[writing],
        )
    os.close(writing)
    return Child(guard, log, reading, kills)


def stop(child: Child) -> None:
    """End the whole tree: ask, wait, kill. Safe to call twice."""
    if child.guard.poll() is None:
        child.guard.send_signal(signal.SIGTERM)
        try:
            child.guard.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _kill(child)
    if child.guard.stdin is not None:
        child.guard.stdin.close()
    if child.progress >= 0:
        os.close(child.progress)
        child.progress = -1


def _kill(child: Child) -> None:
    for process in [*child.tree(), psutil.Process(child.guard.pid)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    child.guard.wait()


@contextlib.contextmanager
def running(command: Sequence[str], variables: Mapping[str, str], log: Path) -> Iterator[Child]:
    """`start`, and `stop` on the way out whatever happens."""
    child = start(command, variables, log)
    try:
        yield child
    finally:
        stop(child)


def tail(log: Path, lines: int = LOG_TAIL_LINES) -> str:
    """The last lines of a log, for an error message."""
    if not log.exists():
        return f"(no log at {log})"
    text = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(text[-lines:]) or "(the log is empty)"


def wait(
    child: Child, on_progress: Callable[[str, float, float], None] = lambda *_: None, limit_seconds: float = math.inf
) -> int:
    """Wait for the child's end while passing on what it reports of its progress; returns the exit code.

    Raises TimeoutError where it is not done in time.
    """
    buffer, deadline = b"", time.monotonic() + limit_seconds
    while True:
        if time.monotonic() > deadline:
            raise TimeoutError(f"was not done after {limit_seconds:g} s")
        ready, _, _ = select.select([child.progress], [], [], 0.5)
        chunk = os.read(child.progress, 65536) if ready else b""
        buffer += chunk
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            report = json.loads(line)
            on_progress(report["stage"], report["done"], report["total"])
        if (ready and not chunk) or child.returncode is not None:
            return child.guard.wait()
