"""What races teach of a machine's noise: added once each, by machine and engines."""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evals.rounds.block_model import MOST_LEARNT
from evals.schema.trial import Trial
from flows.race import noise
from flows.race.noise import learnt, noise_file, teach
from reports.rounds.speeds import noise_name
from tests.support.made_races import noisy, raced

NAME = noise_name("output rate", raced("none", {1: 1.0}).speed[0].load)


def _prepared(engine: str = "vllm", kind: str = "cpu") -> Any:
    cell = SimpleNamespace(choice=SimpleNamespace(engine=SimpleNamespace(name=engine)))
    sweep = SimpleNamespace(device=SimpleNamespace(kind=kind))
    return SimpleNamespace(rows=(SimpleNamespace(cell=cell, parts=("a load",)),), sweep=sweep)


def _cell(method: str, rate: float, spread: float, process: str) -> Trial:
    """All visits of one process, in twelve rounds."""
    made = raced(method, noisy(rate, 12, int(rate), spread))
    visits = [{**visit, "host": "here", "session": process} for visit in made.provenance["visits"]]
    first = {"host": "here", "session": process}
    return replace(made, provenance={"visits": visits, "measured": first})


def _trials(spread: float, process: str = "first") -> list[Trial]:
    return [_cell("none", 50, spread, process), _cell("rtn", 60, spread, process)]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "cache_folder", lambda: tmp_path)


def test_the_next_race_begins_with_what_the_last_one_taught() -> None:
    assert learnt(_prepared(), _trials(0.05)) == {}
    teach(_prepared(), _trials(0.05))
    (known,) = [value for name, value in learnt(_prepared(), _trials(0.05, "next")).items() if name == NAME]
    assert known.variance**0.5 == pytest.approx(0.05, rel=0.5)
    assert known.degrees == 11


def test_a_race_teaches_itself_nothing_and_counts_once() -> None:
    for _ in range(2):
        teach(_prepared(), _trials(0.05))
        assert learnt(_prepared(), _trials(0.05)) == {}
    assert learnt(_prepared(), [])[NAME].degrees == 11


def test_a_visit_counts_once_when_a_cell_or_a_load_joins_its_race() -> None:
    """Another cell, and other keys: the visits of the first two cells are what they were."""
    teach(_prepared(), _trials(0.05))
    joined = [replace(trial, key=f"{trial.key}, and a load") for trial in _trials(0.05)]
    joined.append(_cell("awq", 70, 0.05, "first"))
    assert learnt(_prepared(), joined) == {}
    teach(_prepared(), joined)
    assert learnt(_prepared(), _trials(0.05, "next"))[NAME].degrees == min(22, MOST_LEARNT)
    (race,) = json.loads(noise_file(_prepared()).read_bytes())
    assert len(race["visits"]) == 36


def test_two_races_are_pooled_and_other_engines_teach_nothing() -> None:
    teach(_prepared(), _trials(0.02))
    teach(_prepared(), _trials(0.1, "second"))
    both = learnt(_prepared(), [])[NAME]
    assert 0.02 < both.variance**0.5 < 0.1
    assert both.degrees == 20  # never surer: a machine's noise changes
    assert learnt(_prepared(engine="llama_cpp"), []) == {}


def test_cells_without_rounds_teach_nothing() -> None:
    teach(_prepared(), [replace(trial, speed=()) for trial in _trials(0.05)])
    assert not noise_file(_prepared()).exists()


def _pipe(file: Path) -> None:
    os.mkfifo(file)


def _huge(file: Path) -> None:
    file.touch()
    os.truncate(file, 2**40)


@pytest.mark.parametrize(
    "make", [lambda file: file.write_text('{"x": 3}'), lambda file: file.write_text("[" * 100_000), _pipe, _huge]
)
def test_a_damaged_file_is_warned_of_and_made_again(
    caplog: pytest.LogCaptureFixture, make: Callable[[Path], object]
) -> None:
    file = noise_file(_prepared())
    file.parent.mkdir()
    make(file)
    with caplog.at_level(logging.WARNING):
        assert learnt(_prepared(), []) == {}
    assert "is damaged, or from an older version: the noise of earlier races is not used" in caplog.text
    teach(_prepared(), _trials(0.05))
    assert NAME in learnt(_prepared(), [])


def test_what_cannot_be_read_now_is_kept(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    teach(_prepared(), _trials(0.05))
    before = noise_file(_prepared()).read_bytes()

    def failing(path: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error", str(path))

    with monkeypatch.context() as broken:
        broken.setattr(noise, "read_regular", failing)
        assert learnt(_prepared(), []) == {}
        teach(_prepared(), _trials(0.1, "second"))
    assert noise_file(_prepared()).read_bytes() == before
    assert "cannot be read now (Input/output error): the noise of this race is not recorded" in caplog.text
    assert "cannot be read now (Input/output error): the noise of earlier races is not used" in caplog.text


def test_races_that_end_at_once_all_teach() -> None:
    threads = [threading.Thread(target=teach, args=(_prepared(), _trials(0.05, str(n)))) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(json.loads(noise_file(_prepared()).read_bytes())) == 6
