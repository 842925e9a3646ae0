"""Starting and stopping child processes so that none is ever left behind (see `engines.runtime.supervisor`)."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from engines.runtime.child_environment import child_environment
from engines.runtime.entry_points import SUPERVISOR
from engines.runtime.own_packages import import_folder
from engines.types import CRASH_PREFIX
from quant.canonical_json import open_regular, open_to_append
from quant.errors import SYMPTOMS, CellFailure, FailureKind
from quant.foreign_failures import decisive_line, kind_in
from quant.progress import VARIABLE as PROGRESS_VARIABLE

STOP_SECONDS = 30.0
LOG_TAIL_LINES = 25
READ_BYTES = 65536  # of a log, from its end
SHOWN_CHARACTERS = 1000  # of each of its lines
LOG_CHARACTERS = 8 * 2**20  # of a log, from its beginning, where engines say what they are
LINE_CHARACTERS = 16384  # of each of those lines: vLLM's configuration has 4,000
VMSTAT = Path("/proc/vmstat")


class ProcessFailed(CellFailure):
    """A child process ended badly or said nothing in time.

    With `log`, the cause ends with the line there that decides (not where the message `explains` itself), and a kind
    that is only a symptom gives way to what the log tells.
    """

    def __init__(
        self, message: str, log: Path | None = None, *, kind: FailureKind = "other", explains: bool = False
    ) -> None:
        if log is None:
            super().__init__(message, kind=kind)
            return
        text, last = _end(log), tail(log)
        crash = next((line for line in last.splitlines() if line.startswith(CRASH_PREFIX)), None)
        line = crash.removeprefix(CRASH_PREFIX) if crash else decisive_line(text)
        if kind in SYMPTOMS:
            kind = kind_in(line) or kind_in(last) or ("reference-server-crash" if crash else kind)
        super().__init__(message if explains or not line else f"{message}: {line}", kind=kind, log_tail=last)


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
        """How it ended, in words."""
        signalled = _signal(self.guard.wait())
        words = f"signal {signalled.name}" if signalled else f"exit code {self.guard.wait()}"
        return f"{words}, by the kernel for want of memory" if self.starved else words

    @property
    def starved(self) -> bool:
        """Whether the kernel killed it: it got SIGKILL, and the kernel's count of such kills has risen."""
        return _signal(self.guard.wait()) is signal.SIGKILL and oom_kills() > self.oom_kills

    def loss(self, otherwise: FailureKind) -> FailureKind:
        """The kind of failure that its ending is: starved, ended from outside, or `otherwise`."""
        if self.starved:
            return "out-of-memory"
        ended = _signal(self.guard.wait()) in (signal.SIGKILL, signal.SIGTERM)
        return "worker-lost" if ended else otherwise

    def tree(self) -> list[psutil.Process]:
        """The command and all that it started, without the guard."""
        return descendants(self.guard.pid)


def descendants(pid: int) -> list[psutil.Process]:
    """All that a process started, and what those started; nothing where it is gone."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _signal(code: int) -> signal.Signals | None:
    """The signal of an exit code, as shells tell it and as `subprocess` does; None where it is none."""
    try:
        return signal.Signals(code - 128 if code > 128 else -code)
    except ValueError:
        return None


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory since it started (`oom_kill` of /proc/vmstat)."""
    counts = dict(line.split() for line in VMSTAT.read_text().splitlines())
    return int(counts.get("oom_kill", 0))


def start(
    command: Sequence[str], variables: Mapping[str, str], log: Path, *, fetches: bool = False, folder: str | None = None
) -> Child:
    """Run `command` under a guard with our packages on PYTHONPATH; output goes to `log`. `folder` is where it works; by
    default where this process does.

    Of the user's variables it gets those of `engines.runtime.child_environment`, and with `fetches` proxies and tokens.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    kills, reading, writing = oom_kills(), *os.pipe()
    with contextlib.ExitStack() as unless_started:
        unless_started.callback(os.close, reading)
        try:
            ours = {"PYTHONPATH": str(import_folder()), PROGRESS_VARIABLE: str(writing)}
            environment = child_environment({**variables, **ours}, fetches=fetches)
            with open_to_append(log) as output:
                guard = subprocess.Popen(
                    [sys.executable, "-m", SUPERVISOR, *command],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    cwd=folder,
                    start_new_session=True,
                    pass_fds=[writing],
                )
        finally:
            os.close(writing)
        unless_started.pop_all()
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
    """`start`, and `stop` on the way out whatever happens.

    It works in an empty folder of its own: some programs run what lies in the working directory (ggml looks
    for `libggml-*.so` there), and that may be somebody else's.
    """
    with tempfile.TemporaryDirectory(prefix="bitfrontier-", ignore_cleanup_errors=True) as folder:
        child = start(command, variables, log.absolute(), folder=folder)
        try:
            yield child
        finally:
            stop(child)


def tail(log: Path, lines: int = LOG_TAIL_LINES) -> str:
    """The last lines of a log, for an error message."""
    if not log.exists():
        return f"(no log at {log})"
    return "\n".join(_end(log).splitlines()[-lines:]) or "(the log is empty)"


def _end(log: Path) -> str:
    if not log.exists():
        return ""
    with open_regular(log, sys.maxsize) as file:
        file.seek(max(0, log.stat().st_size - READ_BYTES))
        return _cut(file.read(READ_BYTES).decode(errors="replace"), SHOWN_CHARACTERS)


def read_log(log: Path) -> str:
    """What an engine says of itself at its start: LOG_CHARACTERS of its log, and LINE_CHARACTERS of a line."""
    with io.TextIOWrapper(open_regular(log, sys.maxsize), encoding="utf-8", errors="replace") as file:
        return _cut(file.read(LOG_CHARACTERS), LINE_CHARACTERS)


def _cut(text: str, characters: int) -> str:
    lines = text.split("\n")
    return "\n".join(line if len(line) <= characters else f"{line[:characters]}…" for line in lines)


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
