from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from flows.state.locks import RunBusy, alone, hold, holder, is_held, slot_lock, slots

HOLD = "import sys, time; from pathlib import Path; from flows.state.locks import hold\nwith hold(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"


def _other(file: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_lock_says_who_holds_it(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b.lock"
    assert not is_held(file)
    with hold(file):
        owner = holder(file)
        assert owner is not None
        assert owner.pid == os.getpid()
        assert is_held(file)
    assert not is_held(file)
    assert holder(file) is None


def test_the_dead_hold_nothing(tmp_path: Path) -> None:
    file = tmp_path / "sweep.lock"
    with _other(file) as process:
        owner = holder(file)
        assert owner is not None
        assert owner.pid == process.pid
        with (
            pytest.raises(RunBusy, match=rf"being swept by process {process.pid}; `bitfrontier status"),
            alone(tmp_path),
        ):
            pass
        process.kill()
    assert not is_held(file)
    with alone(tmp_path):
        assert is_held(file)


def test_a_lock_that_says_nothing_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.state.locks.KERNEL_LOCKS", tmp_path / "locks", raising=False)  # nor does the kernel
    file = tmp_path / "x.lock"
    with hold(file):
        file.write_text("")
        owner = holder(file)
        assert owner is not None
        assert owner.pid == 0


def test_a_shell_with_another_folder_for_temporary_files_has_no_other_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BITFRONTIER_LOCKS", raising=False)
    before = slot_lock("cpu")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert slot_lock("cpu") == before
    assert tmp_path not in before.parents


def test_slots_are_the_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITFRONTIER_LOCKS", str(tmp_path / "locks"))
    with slots(["GPU-b", "GPU-a"]):
        assert is_held(tmp_path / "locks" / "GPU-a.lock")
        assert is_held(slot_lock("GPU-b"))
        assert not is_held(slot_lock("cpu"))
    assert not is_held(slot_lock("GPU-a"))
