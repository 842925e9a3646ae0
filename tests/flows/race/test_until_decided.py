"""What is measured next until a sweep is decided, from results made by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evals.schema.race_file import RaceState, Rules
from evals.schema.trial import Trial
from flows.plan.changes import Changes
from flows.plan.schema import Plan
from flows.race.until_decided import MOST_TIMES, gone_on_with, next_step
from reports.decision.results import Results, conclude
from reports.decision.what_decides import deciding
from reports.output.race_view import race_view
from tests.support.made_races import noisy, raced
from tests.support.made_trials import ABOUT

PLAN: dict[str, Any] = {
    "name": "p",
    "models": ["m"],
    "methods": [{"method": "none"}],
    "engines": [{"engine": "e"}],
    "load": [{"concurrency": 1, "requests": 2, "prompt_tokens": 8, "output_tokens": 8}],
    "race": {"rounds": 6},
    "tasks": [{"task": "arc", "limit": 100}, {"task": "whole"}],
    "perplexity": [{"max_tokens": 4096}, {}],
}


def _plan(**changes: Any) -> Plan:
    return Plan.model_validate({**PLAN, **changes})


def _scored(made: Trial) -> Trial:
    return replace(
        made, inputs={"task arc": {"task limit": "100"}}, parts={"task arc": "k"}, seconds={"task arc": 10.0}
    )


def _results(*trials: Trial, ended: Any = "winner", recovery: float = 0.9) -> Results:
    limits = {**ABOUT["limits"], "accuracy_recovery": recovery, "perplexity_ratio": 2.0}
    state = RaceState(Rules(6, 0.03, 0.05), 6, ended=ended)
    return conclude({**ABOUT, "limits": limits}, list(map(_scored, trials)), race=state)


def test_a_decided_sweep_has_no_next_step() -> None:
    cells = raced("none", noisy(10, 6, 1)), raced("fast", noisy(30, 6, 2), 80, 2.001)
    assert next_step(_plan(), _results(*cells)) is None


def test_more_questions_are_asked_where_a_faster_cell_is_in_doubt() -> None:
    cells = raced("none", noisy(10, 6, 1), 50), raced("open", noisy(30, 6, 2), 48, 2.001)
    results = _results(*cells)
    (entry,) = deciding(results)
    assert entry.times is not None
    step = next_step(_plan(), results)
    assert step is not None
    times = min(entry.times, MOST_TIMES)
    (changed,) = step.sets  # a whole task has no more questions
    assert changed.startswith("tasks[0].limit=")
    assert int(changed.partition("=")[2]) == pytest.approx(100 * times, abs=10)
    assert step.why == ("open · e: accuracy recovered 0.960 against a limit of 0.9",)
    assert step.seconds == pytest.approx(20 * (times - 1))


def test_a_slower_cell_in_doubt_is_left_alone() -> None:
    cells = raced("none", noisy(30, 6, 1), 50), raced("open", noisy(10, 6, 2), 48, 2.001)
    assert next_step(_plan(), _results(*cells)) is None


@pytest.mark.parametrize("ended", ["rounds", "minutes"])
def test_more_rounds_are_run_where_none_has_won(ended: str) -> None:
    cells = [raced("none", noisy(5, 6, 1))]
    cells += [raced(name, noisy(30, 6, number), 80, 2.001) for number, name in enumerate(("a", "b"), 2)]
    step = next_step(_plan(race={"rounds": 6, "minutes": 10}), _results(*cells, ended=ended))
    assert step is not None
    rounds, minutes = (change.partition("=") for change in step.sets)
    assert (rounds[0], minutes[0]) == ("race.rounds", "race.minutes")
    assert 8 <= int(rounds[2]) <= 12
    assert float(minutes[2]) == pytest.approx(10 * int(rounds[2]) / 6, rel=0.01)
    assert step.why[0].endswith("may be the fastest instead")
    assert next_step(_plan(), _results(*cells, ended="equal")) is None


def test_no_rounds_are_run_where_a_hundred_would_not_decide() -> None:
    """Visits of one cell differ by half of its speed."""
    cells = [raced("none", noisy(5, 6, 1, 0.5))]
    cells += [raced(name, noisy(30, 6, number, 0.5), 80, 2.001) for number, name in enumerate(("a", "b"), 2)]
    results = _results(*cells, ended="rounds")
    view = race_view(results)
    assert view is not None
    (certain,) = view.certainties
    assert certain is not None
    assert certain.rivals
    assert certain.more_rounds is None
    assert next_step(_plan(), results) is None


def test_more_rounds_are_run_where_a_faster_cell_may_meet_the_slo() -> None:
    cells = raced("none", noisy(10, 6, 1)), raced("open", noisy(30, 6, 2), 80, 2.001)
    limits = {**ABOUT["limits"], "perplexity_ratio": 2.0}
    slo = {"ttft_seconds": None, "tpot_seconds": 0.2, "percentile": 99}
    state = RaceState(Rules(6, 0.03, 0.05), 6, ended="rounds")
    results = conclude({**ABOUT, "limits": limits, "slo": slo}, list(map(_scored, cells)), race=state)
    step = next_step(_plan(), results)
    assert step is not None
    assert step.sets == ("race.rounds=12",)
    assert step.seconds is None
    assert step.text == (
        "not decided (whether open · e, none · e meets the SLO is inconclusive): continues with race.rounds=12"
    )


def test_a_run_goes_on_with_the_changes_that_it_was_gone_on_with(tmp_path: Path) -> None:
    given, further = Changes(("seed=1",)), Changes(("seed=1", "race.rounds=8"))
    assert gone_on_with(given, tmp_path) == given
    (tmp_path / "sweep.json").write_text(json.dumps({**ABOUT, "changes": further.plain}))
    assert gone_on_with(given, tmp_path) == further
    assert gone_on_with(Changes(("seed=2",)), tmp_path) == Changes(("seed=2",))
    assert gone_on_with(Changes(("seed=1",), only=("a",)), tmp_path) == Changes(("seed=1",), only=("a",))
    theirs = Changes(("seed=1", "environments.transformers.python=/tmp/theirs"))
    (tmp_path / "sweep.json").write_text(json.dumps({**ABOUT, "changes": theirs.plain}))
    assert gone_on_with(given, tmp_path) == given


def test_there_are_no_more_than_so_many_rounds() -> None:
    cells = [raced("none", noisy(5, 6, 1))]
    cells += [raced(name, noisy(30, 6, number), 80, 2.001) for number, name in enumerate(("a", "b"), 2)]
    assert next_step(_plan(race={"rounds": 100}), _results(*cells, ended="rounds")) is None
