"""Who takes part in a round."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from evals.schema.race_file import Left, RaceState, Rules
from evals.schema.trial import Trial
from flows.plan.race import RacePlan
from flows.race import contenders
from flows.race.contenders import entries
from tests.support.made_races import noisy, raced

CELLS = [raced(method, noisy(50, 3, 1)) for method in ("none", "rtn", "awq")]
STATE = RaceState(Rules(6, 0.03, 0.05), 3)


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> Any:
    def prepared(**race: Any) -> Any:
        rows = tuple(_row(trial) for trial in CELLS)
        plan = SimpleNamespace(race=RacePlan(**race), seed=0)
        return SimpleNamespace(rows=rows, stale={}, sweep=SimpleNamespace(plan=plan))

    monkeypatch.setattr(contenders, "finished", lambda row: row.trial)
    return prepared


def _row(trial: Trial) -> Any:
    scheme = SimpleNamespace(unquantized=trial.method == "none")
    cell = SimpleNamespace(
        name=trial.name, choice=SimpleNamespace(attached=None), quantization=SimpleNamespace(scheme=scheme)
    )
    return SimpleNamespace(key=trial.key, trial=trial, cell=cell, file=SimpleNamespace(name=trial.key))


def _names(prepared: Any, state: RaceState) -> list[str]:
    return sorted(entry.name for entry in entries(prepared, state, state.number + 1))


def test_all_that_have_not_left_and_the_control_in_an_order_of_each_round(planned: Any) -> None:
    assert _names(planned(), STATE) == ["awq · e", "none · e", "none · e, control", "rtn · e"]
    gone = STATE.leaving(Left(CELLS[2].key, "awq", "m", 3, "slower"))
    assert _names(planned(control=False), gone) == ["none · e", "rtn · e"]
    orders = [[entry.name for entry in entries(planned(), STATE, number)] for number in range(2, 8)]
    assert len({tuple(order) for order in orders}) > 1
    assert orders[0] == [entry.name for entry in entries(planned(), STATE, 2)]


def test_where_time_is_short_those_that_decide_most_are_visited_alone(planned: Any) -> None:
    telling = replace(STATE, telling=(CELLS[0].key, CELLS[1].key))
    assert _names(planned(minutes=30), telling) == ["none · e", "rtn · e"]
    assert len(_names(planned(), telling)) == 4
    assert len(_names(planned(minutes=30), STATE)) == 4  # before the first look
    assert len(_names(planned(minutes=30), replace(telling, telling=("another",)))) == 4
