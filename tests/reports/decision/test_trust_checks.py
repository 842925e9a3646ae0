"""Planted faults: each marks its cell, and the cell wins nothing."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from markupsafe import escape

from evals.schema.accuracy import Score
from evals.schema.slo import SLO, Search, SearchRange
from evals.schema.trial import Gate, Trial
from reports.decision.results import conclude
from reports.decision.trust_checks import above_chance, distrust, usable
from reports.decision.use_cases import recommended
from reports.output.html_report import contents, render
from tests.support.made_trials import ABOUT, score, trial


def _choices(right: list[float], choices: int = 4) -> Score:
    return dataclasses.replace(score("arc", right), loglikelihoods=((-1.0,) * choices,) * len(right))


def _answers(share: float, seed: int, count: int = 400) -> list[float]:
    return [float(value) for value in np.random.default_rng(seed).random(count) < share]


def _with(result: Trial, **changes: Any) -> Trial:
    return dataclasses.replace(result, **changes)


BASE = _with(trial("none", 10, 1, 80), scores=(_choices(_answers(0.5, 1)),))


def test_a_good_cell_is_trusted() -> None:
    assert distrust(_with(trial("rtn", 10, 1, 80), scores=(_choices(_answers(0.48, 1)),)), BASE) == []
    assert distrust(BASE, BASE) == []


def test_guessing_is_not_trusted_and_wins_nothing() -> None:
    guessing = _with(trial("rtn", 1000, 0.1, 80), scores=(_choices(_answers(0.25, 2)),), perplexities=())
    (reason,) = distrust(guessing, BASE)
    assert reason.startswith("its accuracy on arc, 2")
    assert reason.endswith("is that of guessing (25.0 %)")
    results = conclude(ABOUT, [BASE, guessing])
    assert results.judged[1].verdict == "untrusted"
    assert results.answer.chosen is not None
    assert results.answer.chosen.cell.trial is BASE
    assert all(name == BASE.name for _, name, _ in results.answer.best)


def test_where_the_baseline_guesses_too_nothing_can_be_said() -> None:
    at_chance = _with(BASE, scores=(_choices(_answers(0.25, 3)),))
    assert distrust(_with(trial("rtn", 10, 1, 80), scores=(_choices(_answers(0.24, 4)),)), at_chance) == []


@pytest.mark.parametrize("changes", [{"drawn": 9}, {"item_keys": tuple(f"{n}:x:y" for n in range(400))}])
def test_other_items_than_the_baselines_are_not_trusted(changes: dict[str, Any]) -> None:
    other = dataclasses.replace(_choices(_answers(0.5, 1)), **changes)
    assert distrust(_with(BASE, key="x", scores=(other,)), BASE) == ["its items of arc are not those of its baseline"]
    assert distrust(_with(BASE, key="x", scores=()), BASE) == ["its items of arc are not those of its baseline"]


def test_a_gate_that_did_not_pass_and_questions_about_nothing() -> None:
    gates = (Gate("apart from calibration", False, "9 of 10 requests hold 13 tokens"),)
    assert distrust(_with(BASE, gates=gates), BASE) == [
        "gate 'apart from calibration': 9 of 10 requests hold 13 tokens"
    ]
    empty = _with(BASE, scores=(dataclasses.replace(BASE.scores[0], empty_contexts=3),))
    assert distrust(empty, empty) == ["3 of 400 items of arc ask about nothing"]
    always = _with(BASE, scores=(dataclasses.replace(BASE.scores[0], empty_contexts=400),))  # BLiMP asks so
    assert distrust(always, always) == []


def test_what_cannot_be_guessed_has_no_chance() -> None:
    base = _with(BASE, scores=(_choices(_answers(0.9, 0), choices=1),))
    assert distrust(_with(base, key="x", scores=(_choices(_answers(0.1, 1), choices=1),)), base) == []


def test_items_that_stand_for_many_are_worth_fewer() -> None:
    values = [1.0] * 40 + [0.0] * 60  # of four choices
    assert above_chance(values, [1.0] * 100, 0.25)
    assert not above_chance(values, [1.0] * 40 + [3.0] * 60, 0.25)  # 18 % of what they stand for
    assert not above_chance(values, [40.0] + [1.0] * 39 + [40.0] + [1.0] * 59, 0.25)


def _failing_requests(result: Trial, share: float) -> Trial:
    """So many of its requests failed, the others are very fast."""
    speeds = []
    for measurement in result.speed:
        repeats = []
        for repeat in measurement.repeats:
            bad = [dataclasses.replace(request, chunks=(), error="HTTP 503") for request in repeat * 10]
            good = list(repeat) * 10
            count = round(share * len(good))
            repeats.append((*bad[:count], *good[count:]))
        speeds.append(dataclasses.replace(measurement, repeats=tuple(repeats)))
    return dataclasses.replace(result, speed=tuple(speeds))


def _failing_search(result: Trial) -> Trial:
    """One request of a load that was tried in a fresh session failed; all that were timed otherwise are good."""
    (timed,) = _failing_requests(result, 0.05).speed
    search = Search(SearchRange("concurrency", 1, 8, 2, 10, 11), SLO(0.5, None, 50), result.speed, (timed,))
    return dataclasses.replace(result, searches=(search,))


@pytest.mark.parametrize(
    ("planted", "reason"),
    [
        (_failing_search(trial("planted", 900, 0.1, 80)), "2 of 40 requests failed at concurrency 1: HTTP 503"),
        (_failing_requests(trial("planted", 900, 0.1, 80), 0.2), "8 of 40 requests failed at concurrency 1: HTTP 503"),
        (
            _with(trial("planted", 900, 0.1, 80), scores=(score("arc", [math.nan] * 100),)),
            "what was read for arc contains a value that is not a number",
        ),
        (
            trial("planted", 900, 0.1, 80, math.nan),
            "the log-probabilities of wikitext2 (papers) contain a value that is not a number",
        ),
        (
            trial("planted", 900, 0.1, 80, math.inf),
            "the log-probabilities of wikitext2 (papers) contain a value that is not a number",
        ),
    ],
)
def test_planted_cells_win_nothing_and_are_shown_with_their_reason(planted: Trial, reason: str) -> None:
    good = trial("none", 10, 1, 80)
    results = conclude(ABOUT, [good, planted])
    assert results.trials[1].status == "failed"
    assert results.trials[1].reason == reason
    assert results.answer.chosen is not None
    assert results.answer.chosen.cell.trial.key == good.key
    assert all(name == good.name for _, name, _ in results.answer.best)
    assert all(standing.name == good.name for plot in results.frontiers for standing in plot.standings)
    assert escape(reason) in render(contents(results), {})


def test_a_cell_at_chance_is_on_no_frontier_and_no_use_recommends_it() -> None:
    guessing = _with(trial("rtn", 1000, 0.1, 80), scores=(_choices(_answers(0.25, 2)),), perplexities=())
    results = conclude(ABOUT, [BASE, guessing])
    assert all(standing.name == BASE.name for plot in results.frontiers for standing in plot.standings)
    assert {
        recommendation.answer.chosen and recommendation.answer.chosen.cell.trial.name
        for recommendation in recommended(results)
    } <= {BASE.name, None}
    page = render(contents(results), {})
    assert "is that of guessing (25.0 %)" in page


def test_a_good_trial_is_used_as_it_is() -> None:
    assert usable(BASE) is BASE
