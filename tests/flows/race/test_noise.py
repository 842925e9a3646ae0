"""What races teach of a machine's noise: added once each, by machine and engines."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.race import noise
from flows.race.noise import learnt, noise_file, teach
from reports.rounds.speeds import noise_name
from tests.support.made_races import noisy, raced

NAME = noise_name("output rate", raced("none", {1: 1.0}).speed[0].load)


def _prepared(key: str, engine: str = "vllm", kind: str = "cpu") -> Any:
    cell = SimpleNamespace(choice=SimpleNamespace(engine=SimpleNamespace(name=engine)))
    sweep = SimpleNamespace(device=SimpleNamespace(kind=kind))
    return SimpleNamespace(
        rows=(SimpleNamespace(cell=cell, key=key, parts=("a load",)),), sweep=sweep, folder=Path("runs/x")
    )


def _trials(spread: float) -> list[Any]:
    return [raced("none", noisy(50, 12, 1, spread)), raced("rtn", noisy(60, 12, 2, spread))]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "cache_folder", lambda: tmp_path)


def test_the_next_race_begins_with_what_the_last_one_taught() -> None:
    assert learnt(_prepared("first")) == {}
    teach(_prepared("first"), _trials(0.05))
    (known,) = [value for name, value in learnt(_prepared("second")).items() if name == NAME]
    assert known.variance**0.5 == pytest.approx(0.05, rel=0.5)
    assert known.degrees == 11


def test_a_race_teaches_itself_nothing_and_counts_once() -> None:
    for _ in range(2):
        teach(_prepared("first"), _trials(0.05))
        assert learnt(_prepared("first")) == {}
    assert learnt(_prepared("second"))[NAME].degrees == 11


def test_two_races_are_pooled_and_other_engines_teach_nothing() -> None:
    teach(_prepared("first"), _trials(0.02))
    teach(_prepared("second"), _trials(0.1))
    both = learnt(_prepared("third"))[NAME]
    assert 0.02 < both.variance**0.5 < 0.1
    assert both.degrees == 20  # never surer: a machine's noise changes
    assert learnt(_prepared("third", engine="llama_cpp")) == {}


def test_cells_without_rounds_teach_nothing() -> None:
    teach(_prepared("first"), [replace(trial, speed=()) for trial in _trials(0.05)])
    assert not noise_file(_prepared("first")).exists()


def test_a_damaged_file_is_warned_of_and_made_again(caplog: pytest.LogCaptureFixture) -> None:
    file = noise_file(_prepared("first"))
    file.parent.mkdir()
    file.write_text('{"x": 3}')
    with caplog.at_level(logging.WARNING):
        assert learnt(_prepared("second")) == {}
    assert "is damaged: what earlier races taught" in caplog.text
    teach(_prepared("first"), _trials(0.05))
    assert NAME in learnt(_prepared("second"))
