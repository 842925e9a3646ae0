"""Starting and stopping child processes so that none is ever left behind (see `engines.guard`)."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from quant.progress import VARIABLE as PROGRESS_VARIABLE

ROOT = Path(__file__).resolve().parent.parent
STOP_SECONDS = 30.0
LOG_TAIL_LINES = 25


class ProcessFailed(Exception):
    """A child process ended badly or said nothing in time. The message ends with the tail of its log."""


@dataclass
class Child:
    """A guarded process. `progress` is the reading end of its progress channel."""

    guard: subprocess.Popen[bytes]
    log: Path
    progress: int

    @property
    def returncode(self) -> int | None:
        return self.guard.poll()

    def tree(self) -> list[psutil.Process]:
        """The command and all that it started, without the guard."""
        try:
            return psutil.Process(self.guard.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []


def start(command: Sequence[str], variables: Mapping[str, str], log: Path) -> Child:
    """Run `command` under a guard with the repository root on PYTHONPATH; output goes to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe()
    environment = {**os.environ, **variables, "PYTHONPATH": str(ROOT), PROGRESS_VARIABLE: str(writing)}
    environment.pop("VIRTUAL_ENV", None)
    with log.open("ab") as output:
        guard = subprocess.Popen(
            [sys.executable, "-m", "engines.guard", *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            pass_fds=[writing],
        )
    os.close(writing)
    return Child(guard, log, reading)


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


def wait(child: Child, on_progress: Callable[[str, float, float], None] = lambda *_: None) -> int:
    """Wait for the child's end while passing on what it reports of its progress; returns the exit code."""
    buffer = b""
    while True:
        ready, _, _ = select.select([child.progress], [], [], 0.5)
        chunk = os.read(child.progress, 65536) if ready else b""
        buffer += chunk
        *whole, buffer = buffer.split(b"\n")
        for line in whole:
            report = json.loads(line)
            on_progress(report["stage"], report["done"], report["total"])
        if (ready and not chunk) or child.returncode is not None:
            return child.guard.wait()
