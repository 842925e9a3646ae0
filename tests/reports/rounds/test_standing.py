"""Who may still be the best, and who is chosen where speeds are equal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from evals.rounds.race import RaceRules
from evals.schema.race_file import Left, RaceState, Rules, control_key
from reports.decision.results import conclude
from reports.output.race_view import certainty_text, race_view, sure
from reports.rounds.standing import objectives, stand
from tests.support.made_races import noisy, raced
from tests.support.made_trials import ABOUT

RULES = RaceRules(rounds=6, gap=0.03, alpha=0.05)
RACE = RaceState(Rules(6, 0.03, 0.05), number=6)


def test_the_faster_cell_wins_and_by_latency_too() -> None:
    cells = [raced("none", noisy(50, 6, 1)), raced("rtn", noisy(60, 6, 2)), raced("awq", noisy(40, 6, 3))]
    results = conclude(ABOUT, cells)
    keys = frozenset(cell.key for cell in cells)
    wanted = objectives([cells[0].speed[0].load])
    assert [objective.less for objective in wanted] == [False, True]
    for objective in wanted:
        standing = stand(objective, results.speed_models, keys, RULES)
        assert standing is not None
        assert (standing.may_be_best, standing.verdict) == (frozenset({cells[1].key}), "winner")


def test_who_has_left_does_not_win() -> None:
    cells = [raced("none", noisy(50, 6, 1)), raced("rtn", noisy(60, 6, 2))]
    results = conclude(ABOUT, cells)
    (rate, _) = objectives([cells[0].speed[0].load])
    standing = stand(rate, results.speed_models, frozenset({cells[0].key}), RULES)
    assert standing is not None
    assert standing.may_be_best == frozenset({cells[0].key})
    assert stand(rate, results.speed_models, frozenset(), RULES) is None
    assert stand(rate, {}, frozenset({cells[0].key}), RULES) is None


def test_an_open_load_is_no_race_for_throughput() -> None:
    load = replace(raced("none", {1: 1.0}).speed[0].load, concurrency=None, rate_per_second=2.0, arrivals="poisson")
    assert [objective.figure for objective in objectives([load])] == ["e2e 50"]


def test_of_equal_speeds_the_better_quality_is_chosen() -> None:
    """Q8_0 is 1 % slower, and predicts better."""
    cells = [
        raced("none", noisy(30, 20, 1, 0.005)),
        raced("q4", noisy(60.0, 20, 2, 0.005), loss=2.06, label="Q4_K_M"),
        raced("q8", noisy(59.6, 20, 3, 0.005), loss=2.005, label="Q8_0"),
    ]
    equal = tuple(cell.key for cell in cells[1:])
    by_speed = conclude(ABOUT, cells).answer.chosen
    tied = conclude(ABOUT, cells, race=replace(RACE, ended="equal", equal=equal))
    assert by_speed is not None
    assert by_speed.cell.trial.method_label == "Q4_K_M"
    assert tied.answer.chosen is not None
    assert tied.answer.chosen.cell.trial.method_label == "Q8_0"
    assert tied.planned.aim.tied == {cells[2].key: 0, cells[1].key: 1}


def test_how_sure_the_choice_is() -> None:
    quick = [raced("rtn", noisy(60, 6, 2), loss=2.01), raced("awq", noisy(59, 6, 3), loss=2.01)]
    cells = [raced("none", noisy(50, 6, 1)), *quick]
    left = Left(cells[0].key, cells[0].name, "m", 3, "surely slower")
    view = race_view(conclude(ABOUT, cells, race=replace(RACE, left=(left,), ended="rounds")))
    assert view is not None
    (certain,) = view.certainties
    assert certain is not None
    assert 0.5 < certain.best < 0.95
    assert 0 < certain.regret < certain.regret_95 < 0.05
    assert certain.rivals == (cells[2].name,)
    assert certain.more_rounds is not None
    assert certain.more_rounds > 0
    assert certain.seconds == pytest.approx(certain.more_rounds * 2 * 5.0)  # of two cells, start and load
    assert certain.figure.low < 60 < certain.figure.high
    assert certain.fastest == pytest.approx(certain.best)  # its quality is not in doubt
    text = certainty_text(certain, conclude(ABOUT, cells).answer)
    assert f"awq · e may be the best: {certain.more_rounds} more rounds of these cells would resolve" in text
    ratios = [cell.against_best for cell in view.visited]
    assert ratios[0] is not None
    assert ratios[0].high == 1.0  # surely slower than another
    assert ratios[1] is not None
    assert ratios[1].low < 1 < ratios[1].high
    assert [cell.left_after for cell in view.visited] == [3, None, None]
    assert view.visited[0].why == "surely slower"
    assert [cell.rounds for cell in view.visited] == [6, 6, 6]
    assert view.visited[0].startup_seconds == 2.0
    (noise,) = view.noises
    assert noise.typical == pytest.approx(0.03 * 2**0.5, rel=0.5)
    assert list(noise.shows) == [3, 6]  # no more than the plan has
    assert noise.shows[6] < noise.shows[3]
    assert noise.control is None
    assert "all rounds of the plan were run" in view.lines[0]
    assert "two visits of one cell differ by" in view.lines[1]
    assert f"detectable difference between two cells: {100 * noise.shows[3]:.1f} % after 3 rounds, " in view.lines[1]


def test_a_doubt_of_the_limits_is_not_a_doubt_of_the_speed() -> None:
    """By far the fastest, of a quality that its few questions leave open."""
    cells = [raced("none", noisy(30, 6, 1)), raced("rtn", noisy(60, 6, 2), right=76, loss=2.01)]
    results = conclude({**ABOUT, "limits": {**ABOUT["limits"], "accuracy_recovery": 0.88}}, cells, race=RACE)
    view = race_view(results)
    assert view is not None
    (certain,) = view.certainties
    assert certain is not None
    assert 0.9 <= certain.kept_with < 1
    assert certain.best == pytest.approx(certain.kept_with, abs=0.02)
    assert certain.fastest > 0.99
    shown = f"Fastest: > 0.99; meets the limits: {certain.kept_with:.2f}. Expected regret if it meets them: "
    assert sure(results.answer, certain, raced=True) == f"{shown}below 0.1 % of the fastest cell's tokens/s."


def test_the_control_is_held_against_its_cell() -> None:
    cells = [raced("none", noisy(50, 6, 1)), raced("rtn", noisy(60, 6, 2))]
    control = replace(raced("none", noisy(50, 6, 4)), key=control_key(cells[0].key))
    view = race_view(conclude(ABOUT, cells, race=RACE, control=control))
    assert view is not None
    (noise,) = view.noises
    assert noise.control is not None
    assert noise.control.low < 1 < noise.control.high
    assert "A/A control: the first baseline, visited under another name, gave" in view.lines[1]


@pytest.mark.parametrize("visits", ["abc", None, 3, [{"attempts": "x"}], [{"startup_seconds": "x"}], [{}]])
def test_what_somebody_elses_trial_says_of_its_visits_breaks_no_report(visits: Any) -> None:
    cells = [raced("none", noisy(50, 6, 1)), replace(raced("rtn", noisy(60, 6, 2)), provenance={"visits": visits})]
    view = race_view(conclude(ABOUT, cells, race=RACE))
    assert view is not None
    assert (view.visited[1].repeated, view.visited[1].disturbed) == (0, 0)
