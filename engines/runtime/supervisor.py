"""A process that outlives its parent by a second at most, and takes all its descendants with it.

`python -m engines.runtime.supervisor COMMAND…` runs COMMAND in a process group of its own and ends the whole tree when
COMMAND ends, when it gets SIGTERM, or when its standard input closes: the parent holds the other end of that pipe, so
even `kill -9` of the parent closes it. Linux only: it becomes the subreaper of all that COMMAND starts (prctl(2)). Its
exit code is COMMAND's, or 128 + the number of the signal that ended it, as shells tell it.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import select
import signal
import subprocess
import sys
from types import FrameType

import psutil

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
GRACE_SECONDS = 10.0


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _die_with(guard: int) -> None:
    """In the child, before COMMAND: be killed when the guard dies, and at once if it died before this was asked."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guard:
        os._exit(1)


def _wait(child: subprocess.Popen[bytes], wake: int) -> None:
    """Return when the child ended, a signal came, or the parent's end of our standard input is gone."""
    watched = [sys.stdin.fileno(), wake]
    while child.poll() is None:
        ready, _, _ = select.select(watched, [], [], 0.2)
        if wake in ready or (ready and not os.read(sys.stdin.fileno(), 4096)):
            return


def end_descendants(grace_seconds: float) -> None:
    """SIGTERM to everything below this process, then SIGKILL to what is still there after the grace period."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        tree = psutil.Process().children(recursive=True)
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        psutil.wait_procs(tree, timeout=grace_seconds)


def main() -> int:
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    wake_read, wake_write = os.pipe()

    def on_signal(number: int, frame: FrameType | None) -> None:
        os.write(wake_write, b"x")

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    descriptor = os.environ.get("BITFRONTIER_PROGRESS_FD")
    child = subprocess.Popen(
        sys.argv[1:],
        stdin=subprocess.DEVNULL,
        preexec_fn=functools.partial(_die_with, os.getpid()),
        process_group=0,
        pass_fds=[int(descriptor)] if descriptor else [],
    )
    _wait(child, wake_read)
    end_descendants(GRACE_SECONDS)
    code = child.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
