"""A sweep of fake engines as a process that is waited for and killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.support.prefect_server import give_database

ROOT = Path(__file__).resolve().parents[2]


SECONDS = 180.0


def start_sweep(workplace: Path) -> subprocess.Popen[bytes]:
    """In the cache folder that BITFRONTIER_CACHE names, with Prefect's database to begin with."""
    give_database()
    code = "from tests.support.fake_sweep import main; main()"
    command = [sys.executable, "-c", code, str(workplace / "plan.yaml"), str(workplace / "runs")]
    with (workplace / "out.log").open("ab") as log:
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, preexec_fn=_hear_ctrl_c)


def _hear_ctrl_c() -> None:
    """What a shell starts in the background ignores SIGINT, and so would all that the tests start from there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(condition: Callable[[], object], process: subprocess.Popen[bytes] | None, workplace: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if condition():
            return
        if process is not None and process.poll() is not None:
            break
        time.sleep(0.05)
    raise AssertionError((workplace / "out.log").read_text()[-3000:])


def alive(tree: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in tree if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def kill(process: subprocess.Popen[bytes], workplace: Path) -> None:
    tree = psutil.Process(process.pid).children(recursive=True)
    assert tree
    process.kill()
    process.wait()
    wait_for(lambda: not alive(tree), None, workplace)


def has_child(process: subprocess.Popen[bytes], word: str) -> bool:
    try:
        family = psutil.Process(process.pid).children(recursive=True)
        return any(word in " ".join(child.cmdline()) for child in family)
    except psutil.NoSuchProcess:
        return False
