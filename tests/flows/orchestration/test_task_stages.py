"""Stages as task runs: nothing is passed on of the logs while something is timed."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from evals.schema.load import LoadPoint
from flows.orchestration import task_stages
from flows.orchestration.task_stages import watched

LOAD = LoadPoint(4, 8, 64, 16)


@pytest.mark.parametrize(
    ("name", "timed"),
    [
        (f"load {LOAD.label}, {LOAD.sizes} tokens", True),
        ("search concurrency, 64 / 16 tokens", True),
        ("task arc_easy", False),
        ("gates", False),
        ("start", False),
    ],
)
def test_what_is_timed_is_quiet(name: str, timed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[threading.Event] = []

    @contextlib.contextmanager
    def following(logs: Sequence[Path], say: Callable[[str], None], quiet: threading.Event) -> Iterator[None]:
        seen.append(quiet)
        yield

    monkeypatch.setattr(task_stages, "following", following)
    monkeypatch.setattr(task_stages, "stage", lambda name, function: function())
    monkeypatch.setattr(task_stages, "get_run_logger", logging.getLogger)
    with watched() as step:
        assert step(name, seen[0].is_set) is timed
        assert not seen[0].is_set()
