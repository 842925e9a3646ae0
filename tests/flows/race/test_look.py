"""Looks at a planted race: who leaves after which round, and how it ends. Nothing is measured here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evals.schema.race_file import RaceState, Rules
from evals.schema.trial import Trial
from flows.race import look as looking
from flows.race.look import look, until
from tests.support.made_races import noisy, raced
from tests.support.made_runs import write_run

RULES = Rules(rounds=6, gap=0.03, alpha=0.05)
QUICK = 0.01


@pytest.fixture
def race(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def planted(trials: list[Trial]) -> Any:
        folder = write_run(tmp_path, *trials)
        monkeypatch.setattr(looking, "finished", lambda row: row)
        return SimpleNamespace(rows=tuple(trials), folder=folder)

    return planted


def _run(prepared: Any, rounds: int) -> list[RaceState]:
    states = [RaceState(RULES)]
    for number in range(1, rounds + 1):
        states.append(look(prepared, replace(states[-1], number=number)))
        if states[-1].ended:
            break
    return states


def test_the_slow_leave_after_the_third_round_and_the_fastest_wins(race: Any) -> None:
    """A slow cell with the worst quality and as much memory is on no frontier."""
    cells = [
        raced("none", noisy(50, 6, 1, QUICK), right=80),
        raced("rtn", noisy(100, 6, 2, QUICK), right=80, loss=2.01),
        raced("awq", noisy(20, 6, 3, QUICK), right=75, loss=2.05),
    ]
    states = _run(race(cells), 6)
    assert [state.ended for state in states] == [None, None, None, "winner"]
    assert not states[2].left
    gone = {cell.key: cell for cell in states[-1].left}
    assert cells[2].key in gone
    assert gone[cells[2].key].after_round == 3
    assert "surely not the best for any load" in gone[cells[2].key].why
    assert cells[1].key not in gone


def test_a_cell_that_fails_a_limit_leaves_at_once(race: Any) -> None:
    cells = [raced("none", noisy(50, 6, 1)), raced("rtn", noisy(500, 6, 2), loss=3.0)]
    (_, first, *_) = _run(race(cells), 6)
    (left,) = first.left
    assert (left.key, left.after_round) == (cells[1].key, 1)
    assert left.why.startswith("fails: perplexity ratio 2.728")


def test_equal_speeds_end_as_equal(race: Any) -> None:
    cells = [
        raced("none", noisy(20, 6, 1, 0.002)),
        raced("rtn", noisy(50, 6, 2, 0.002), loss=2.01),
        raced("awq", noisy(50.2, 6, 3, 0.002), loss=2.01),
    ]
    last = _run(race(cells), 6)[-1]
    assert last.ended == "equal"
    assert last.equal == tuple(sorted(cell.key for cell in cells[1:]))


def test_noise_decides_nothing(race: Any) -> None:
    cells = [raced("none", noisy(50, 6, 1, 0.2)), raced("rtn", noisy(52, 6, 2, 0.2), loss=2.01)]
    states = _run(race(cells), 6)
    assert len(states) == 7
    assert states[-1].ended is None
    assert not states[-1].left


def test_a_race_without_cells_has_ended(race: Any) -> None:
    failing = replace(raced("none", noisy(50, 6, 1)), status="failed", reason="no", speed=())
    assert _run(race([failing]), 6)[-1].ended == "no contenders"


def test_who_has_left_does_not_come_back(race: Any) -> None:
    cells = [raced("none", noisy(50, 6, 1, QUICK)), raced("rtn", noisy(100, 6, 2, QUICK), loss=2.01)]
    prepared = race(cells)
    state = replace(RaceState(RULES), contenders={})
    from evals.schema.race_file import Left

    state = look(prepared, replace(state.leaving(Left(cells[1].key, "rtn", "m", 2, "its visit failed")), number=3))
    assert state.ended == "winner"  # the only one that is left
    assert all(cells[1].key not in keys for keys in state.contenders.values())


def test_a_look_sees_no_later_round() -> None:
    cell = raced("none", {1: 10.0, 2: 20.0, 3: 40.0})
    seen = until(cell, 2).speed[0]
    assert seen.rounds == (1, 2)
    assert seen.repeats == cell.speed[0].repeats[:2]
    assert until(cell, 3) == cell
