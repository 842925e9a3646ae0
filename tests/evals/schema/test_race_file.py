"""`race.json`: written and read, and damaged."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from evals.schema.race_file import ENDINGS, RACE_FILE, Ending, Left, RaceState, Rules, read_race, write_race

STATE = RaceState(
    Rules(6, 0.03, 0.05), 4, (Left("k", "rtn · e", "m", 3, "surely slower"),), "equal", (("a", "b"),), {"rate": ("x",)}
)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_race(tmp_path, STATE)
    assert read_race(tmp_path) == STATE
    assert STATE.gone == {"k"}
    assert STATE.leaving(Left("z", "n", "m", 4, "w")).gone == {"k", "z"}


def test_its_ending_is_said_in_one_way_with_its_gap() -> None:
    assert STATE.ending == "the fastest cells are equal in speed within 3 %; the one with the best quality is chosen"
    assert replace(STATE, ended=None).ending.endswith("run `bitfrontier sweep` with its plan again to go on")
    assert {*get_args(Ending), None} == ENDINGS.keys()


def test_a_run_without_one_had_no_race(tmp_path: Path) -> None:
    assert read_race(tmp_path) is None


RULES = '{"rules": {"rounds": 6, "gap": 0.03, "alpha": 0.05}'


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"rules": 3}', '{"rules": {"rounds": "x", "gap": 1, "alpha": 2}}'),
        '{"rules": {"rounds": 2000000, "gap": 0.03, "alpha": 0.05}}',  # terabytes of random walks
        '{"rules": {"rounds": 6, "gap": 0.03, "alpha": NaN}}',
        *(f'{RULES}, "control": "{name}"}}' for name in ("..", "../sweep.json", "x" * 300)),
        *(f'{RULES}, "noise": {{"a": {{"variance": {value}, "degrees": 2}}}}}}' for value in (-1, "NaN", 1e9)),
    ],
)
def test_a_damaged_one_is_warned_of(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / RACE_FILE).write_text(text)
    with caplog.at_level(logging.WARNING):
        assert read_race(tmp_path) is None
    assert "race.json is damaged: the report does not say who left the race" in caplog.text
