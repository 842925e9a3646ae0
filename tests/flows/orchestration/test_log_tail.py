from __future__ import annotations

import threading
import tracemalloc
from pathlib import Path

import pytest

import flows.orchestration.log_tail
from flows.orchestration.log_tail import Tail, following


def _append(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


def test_only_what_is_new_is_read_and_whole_lines_alone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    _append(log, "old\n")
    tail = Tail(log)
    _append(log, "one\ntw")
    assert tail.read(10) == (["one"], 0)
    _append(log, "o\nthree\n")
    assert tail.read(10) == (["two", "three"], 0)
    assert tail.read(10) == ([], 0)
    tail.close()


def test_the_last_lines_are_kept_and_the_others_counted(tmp_path: Path) -> None:
    log = tmp_path / "log"
    tail = Tail(log)
    assert tail.read(2) == ([], 0)  # not there yet
    _append(log, "".join(f"{number}\n" for number in range(100)))
    assert tail.read(2) == (["98", "99"], 98)
    tail.close()


def test_a_bar_is_one_line_as_it_was_last_seen(tmp_path: Path) -> None:
    log = tmp_path / "log"
    tail = Tail(log)
    _append(log, "1 %\r50 %\r100 %\n")
    assert tail.read(10) == (["100 %"], 0)
    tail.close()


def test_a_log_that_is_replaced_is_read_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "log"
    _append(log, "a server that did not start\n")
    tail = Tail(log)
    _append(log, "its last line\n")
    log.unlink()
    _append(log, "the next server\n")
    assert tail.read(10) == (["its last line", "the next server"], 0)
    log.unlink()
    assert tail.read(10) == ([], 0)
    tail.close()


def test_lines_come_while_it_runs_and_wait_while_something_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows.orchestration.log_tail, "POLL_SECONDS", 0.05)
    log, heard, came, quiet = tmp_path / "log", list[str](), threading.Event(), threading.Event()

    def say(text: str) -> None:
        heard.append(text)
        came.set()

    with following((log,), say, quiet):
        _append(log, "ready\n\n")
        assert came.wait(20)
        quiet.set()
        came.clear()
        _append(log, "busy\n")
        assert not came.wait(0.5)
    assert heard == ["ready", "busy"]


def test_what_is_left_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.orchestration.log_tail, "LINES_PER_SECOND", 4)
    log, heard = tmp_path / "log", list[str]()
    with following((log,), heard.append, threading.Event()):
        _append(log, "1\n2\n3\n4\n5\n")
    assert heard == [f"… left out here: 3 (all lines are in {log})", "4", "5"]


def test_of_a_line_of_50_megabytes_the_end_alone_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    tail = Tail(log)
    log.write_bytes(b"x" * 50 * 10**6)
    tracemalloc.start()
    assert tail.read(10) == ([], 0)
    with log.open("ab") as file:
        file.write(b"\r50%\n")
    assert tail.read(10) == (["50%"], 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    tail.close()
    assert peak < 10**6
