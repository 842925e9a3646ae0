"""`kill -9` of the sweep while it quantizes and while it measures: no orphan, and the next start goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from evals.trial_file import read_trial
from tests.flows.fake_sweep import write_plan

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 180.0


def _start(workplace: Path) -> subprocess.Popen[bytes]:
    code = "from tests.flows.fake_sweep import main; main()"
    command = [sys.executable, "-c", code, str(workplace / "plan.yaml"), str(workplace / "runs")]
    with (workplace / "out.log").open("ab") as log:
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, preexec_fn=_hear_ctrl_c)


def _hear_ctrl_c() -> None:
    """What a shell starts in the background ignores SIGINT, and so would all that the tests start from there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _wait_for(condition: Callable[[], object], process: subprocess.Popen[bytes] | None, workplace: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if condition():
            return
        if process is not None and process.poll() is not None:
            break
        time.sleep(0.05)
    raise AssertionError((workplace / "out.log").read_text()[-3000:])


def _alive(tree: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in tree if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def _kill(process: subprocess.Popen[bytes], workplace: Path) -> None:
    tree = psutil.Process(process.pid).children(recursive=True)
    assert tree
    process.kill()
    process.wait()
    _wait_for(lambda: not _alive(tree), None, workplace)


def _has_child(process: subprocess.Popen[bytes], word: str) -> bool:
    try:
        family = psutil.Process(process.pid).children(recursive=True)
        return any(word in " ".join(child.cmdline()) for child in family)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("moment", ["quantizing", "measuring"])
def test_kill_9_leaves_no_orphan_and_loses_nothing(workplace: Path, moment: str) -> None:
    write_plan(workplace, ["none", "slow"] if moment == "quantizing" else ["none", "other"])
    sweep = _start(workplace)
    if moment == "quantizing":
        _wait_for(lambda: list((workplace / "cache/checkpoints").glob("*.partial/weights/half*")), sweep, workplace)
    else:
        _wait_for(lambda: _has_child(sweep, "tests.engines.emulator"), sweep, workplace)
    _kill(sweep, workplace)
    finished = [p for p in (workplace / "cache/checkpoints").iterdir() if (p / "bitfrontier-checkpoint.json").exists()]
    assert len(finished) == 1
    before = (finished[0] / "bitfrontier-checkpoint.json").stat().st_mtime_ns
    write_plan(workplace, ["none", "other"])
    again = _start(workplace)
    _wait_for(lambda: again.poll() is not None, None, workplace)
    assert again.returncode == 0, (workplace / "out.log").read_text()[-3000:]
    assert (finished[0] / "bitfrontier-checkpoint.json").stat().st_mtime_ns == before
    statuses = sorted(read_trial(p).status for p in (workplace / "runs/fake/trials").iterdir())
    assert statuses == ["ok", "unsupported"]


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(workplace: Path) -> None:
    write_plan(workplace, ["none", "slow"])
    sweep = _start(workplace)
    _wait_for(lambda: list((workplace / "cache/checkpoints").glob("*.partial/weights/half*")), sweep, workplace)
    tree = psutil.Process(sweep.pid).children(recursive=True)
    os.kill(sweep.pid, signal.SIGINT)
    _wait_for(lambda: sweep.poll() is not None, None, workplace)
    assert sweep.returncode == 130
    assert not _alive(tree)
    assert "Run the same command again to go on" in (workplace / "out.log").read_text()
