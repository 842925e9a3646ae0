"""Work on workers that are lost: workers of these tests are plain objects, the store is a real folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

import flows.distributed.leases
from evals.schema.trial import Failure
from flows.distributed.leases import (
    ATTEMPTS,
    Ended,
    LeaseLost,
    Piece,
    RunState,
    at_work,
    hand_out,
    publish_failure,
    require_lease,
)
from flows.distributed.object_store import Store, open_store

WORK = Piece("trials/k", "rtn · vllm", {})
Script = Callable[["Planned", str, int], RunState]


class Planned:
    """Workers that do as `script` says of (itself, attempt, looks so far)."""

    def __init__(self, store: Store, script: Script) -> None:
        self.store, self.script = store, script
        self.attempts: list[str] = []
        self.looks: dict[str, int] = {}
        self.given_up: list[str] = []

    def submit(self, piece: Piece, attempt: str) -> str:
        self.attempts.append(attempt)
        return attempt

    def state(self, run: str) -> RunState:
        self.looks[run] = self.looks.get(run, 0) + 1
        return self.script(self, run, self.looks[run])

    def give_up(self, run: str, why: str) -> None:
        self.given_up.append(f"{run}: {why}")

    def finish(self, attempt: str) -> RunState:
        require_lease(self.store, WORK.name, attempt)
        self.store.write(WORK.name, {"by": attempt})
        return Ended("done")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(flows.distributed.leases, "POLL_SECONDS", 0.0)
    return open_store(str(tmp_path / "store"))


def _run(store: Store, script: Script) -> tuple[Planned, dict[str, Failure | None], list[str]]:
    workers, results, messages = Planned(store, script), {}, []
    hand_out([WORK], store, workers, lambda piece, why: results.update({piece.name: why}), messages.append)
    return workers, results, messages


def test_what_is_done_is_not_handed_out(store: Store) -> None:
    store.write(WORK.name, {})
    workers, results, _ = _run(store, lambda *_: Ended("never"))
    assert (workers.attempts, results) == ([], {WORK.name: None})


def test_one_attempt_is_enough_where_nothing_is_lost(store: Store) -> None:
    states: Mapping[int, RunState] = {1: "waiting", 2: "running", 3: "running"}
    workers, results, messages = _run(store, lambda w, run, n: states.get(n) or w.finish(run))
    assert len(workers.attempts) == 1
    assert (results, messages) == ({WORK.name: None}, [])


def test_a_run_that_crashed_is_handed_out_again(store: Store) -> None:
    workers, results, messages = _run(
        store, lambda w, run, n: Ended("exit code -9") if run == w.attempts[0] else w.finish(run)
    )
    assert len(workers.attempts) == 2
    assert results == {WORK.name: None}
    assert messages == ["rtn · vllm is handed out again: exit code -9"]


def test_a_silent_worker_is_given_up_and_cannot_publish(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.distributed.leases, "LOST_SECONDS", -1.0)

    def script(workers: Planned, run: str, looks: int) -> RunState:
        return "running" if run == workers.attempts[0] else workers.finish(run)

    workers, results, _ = _run(store, script)
    assert workers.given_up == [f"{workers.attempts[0]}: nothing was heard of its worker for -1 s"]
    assert results == {WORK.name: None}
    with pytest.raises(LeaseLost, match="trials/k was given to another worker"):
        workers.finish(workers.attempts[0])
    assert store.read(WORK.name) == {"by": workers.attempts[1]}


def test_beats_keep_an_attempt_alive(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its clock is the orchestrator's alone: what counts is that beats change."""
    clock = iter(range(0, 10_000, 40))  # every look is 40 s after the one before
    monkeypatch.setattr(flows.distributed.leases.time, "monotonic", lambda: float(next(clock)))

    def script(workers: Planned, run: str, looks: int) -> RunState:
        store.write(f"beats/{WORK.name}.{run}", looks)
        return "running" if looks < 10 else workers.finish(run)

    workers, results, _ = _run(store, script)
    assert len(workers.attempts) == 1
    assert results == {WORK.name: None}


def test_it_is_given_up_in_the_end(store: Store) -> None:
    workers, results, _ = _run(store, lambda *_: Ended("exit code -9"))
    assert len(workers.attempts) == ATTEMPTS
    failure = results[WORK.name]
    assert failure is not None
    assert (failure.kind, failure.cause) == ("worker-lost", "given up after 3 attempts on workers: exit code -9")


def test_a_failure_is_no_reason_to_try_again(store: Store) -> None:
    failure = Failure("method-failed", "the method raised", "change its parameters", "last words")

    def script(workers: Planned, run: str, looks: int) -> RunState:
        publish_failure(store, WORK.name, run, failure)
        return "running"

    workers, results, _ = _run(store, script)
    assert len(workers.attempts) == 1
    assert results == {WORK.name: failure}


def test_a_sweep_that_was_killed_finds_what_it_handed_out(store: Store) -> None:
    store.write(f"leases/{WORK.name}", {"attempt": "old", "run": "old"})
    workers, results, _ = _run(store, lambda w, run, n: "running" if n < 3 else w.finish(run))
    assert workers.attempts == []
    assert store.read(WORK.name) == {"by": "old"}
    assert results == {WORK.name: None}


def test_a_sweep_that_was_killed_while_it_handed_out_does_so_again(store: Store) -> None:
    store.write(f"leases/{WORK.name}", {"attempt": "old", "run": ""})
    workers, results, _ = _run(store, lambda w, run, n: w.finish(run))
    assert list(workers.looks) == workers.attempts  # nothing is asked of a run that was not noted
    assert store.read(WORK.name) == {"by": workers.attempts[0]}
    assert results == {WORK.name: None}


def test_who_works_beats(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.distributed.leases, "BEAT_SECONDS", 0.01)
    store.write(f"leases/{WORK.name}", {"attempt": "a", "run": ""})
    beats: list[Any] = []
    with at_work(store, WORK.name, "a"):
        deadline = time.monotonic() + 30
        while len(set(map(json.dumps, beats))) < 3:
            assert time.monotonic() < deadline
            beats.append(store.read(f"beats/{WORK.name}.a"))
    with pytest.raises(LeaseLost, match="nothing was heard of this one"), at_work(store, WORK.name, "b"):
        pass


class Hiccups(Store):
    """A store to which every other record cannot be written."""

    tries: ClassVar[list[str]] = []

    def write(self, name: str, value: object) -> None:
        self.tries.append(name)
        if len(self.tries) % 2:
            raise OSError(116, "Stale file handle")
        super().write(name, value)


def test_beats_outlive_a_store_that_fails_for_a_moment(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.distributed.leases, "BEAT_SECONDS", 0.01)
    store.write(f"leases/{WORK.name}", {"attempt": "a", "run": ""})
    with at_work(Hiccups(store.files, store.root), WORK.name, "a"):
        deadline = time.monotonic() + 30
        while (store.read(f"beats/{WORK.name}.a") or 0) < 3:
            assert time.monotonic() < deadline
