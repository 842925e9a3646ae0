"""How many more items decide a limit: by hand, and as often as is promised."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from evals.schema.trial import Trial
from evals.stats.intervals import Estimate
from reports.decision.results import Results, conclude
from reports.decision.what_decides import MOST_TIMES, POWER, deciding, times_to_decide
from reports.output.formatting import deciding_text
from reports.output.json_data import as_data
from reports.output.terminal.summary import print_results
from tests.support.made_trials import ABOUT, trial

SEEDS = 4000


def test_twice_the_distance_takes_a_quarter() -> None:
    """On logarithms."""
    near, _ = times_to_decide(Estimate(math.exp(0.01), math.exp(-0.05), math.exp(0.07), 100), 1.0)
    far, _ = times_to_decide(Estimate(math.exp(0.02), math.exp(-0.04), math.exp(0.08), 100), 1.0)
    assert near == pytest.approx((1.4294 * 6) ** 2, rel=1e-3)
    assert far == pytest.approx(near / 4)


def test_the_half_width_is_that_of_the_side_of_the_limit() -> None:
    above, _ = times_to_decide(Estimate(1.0, 0.97, 1.3, 100), 0.98)
    below, _ = times_to_decide(Estimate(0.98**2, 0.7, 0.98**2 / 0.97, 100), 0.98)
    assert above == pytest.approx(below)


@pytest.mark.parametrize(
    ("estimate", "why"),
    [
        (Estimate(0.98, 0.9, 1.06, 50), f"over {MOST_TIMES:g} times as many"),
        (Estimate(0.9801, 0.9, 1.06, 50), f"over {MOST_TIMES:g} times as many"),
        (Estimate(0.9, 0.05, math.inf, 50), "so few give no bound on that side"),
        (Estimate(0.9, 0.0, 1e304, 1), "so few give no bound on that side"),  # as one block of tokens has it
        (Estimate(1.1, 0.0, 1e304, 1), "so few give no bound on that side"),
    ],
)
def test_what_more_of_the_same_does_not_decide_says_why(estimate: Estimate, why: str) -> None:
    times, reason = times_to_decide(estimate, 0.98)
    assert times is None
    assert why in reason


@pytest.mark.parametrize("distance", [0.2, 0.5, 1.0, 1.8])
def test_so_many_items_decide_as_often_as_is_promised(distance: float) -> None:
    """Normal logarithms of standard error 1 ÷ 1.96, so that half-widths are 1: the truth is `distance` off the limit."""
    ends = (math.exp(distance + shift) for shift in (0, -1, 1))
    times, _ = times_to_decide(Estimate(*ends, 100), 1.0)
    assert times is not None
    errors = np.random.default_rng(0).normal(0, 1 / 1.959964 / math.sqrt(times), SEEDS)
    decided = float(np.mean(np.abs(distance + errors) > 1 / math.sqrt(times)))
    # near the limit it takes at least as many as there are, which may be more than enough
    assert decided == pytest.approx(POWER, abs=0.02) or (times == 1.0 and decided > POWER)


def _results(*trials: Trial, recovery: float = 0.9, ratio: float = 2.0) -> Results:
    limits = {**ABOUT["limits"], "accuracy_recovery": recovery, "perplexity_ratio": ratio}
    return conclude({**ABOUT, "limits": limits}, trials)


def _timed(made: Trial, seconds: float, limit: str = "100", **changes: Any) -> Trial:
    inputs = {"task arc": {"task limit": limit}}
    parts = {"task arc": "k", "text wikitext2": "k"}
    times = {"task arc": seconds, "text wikitext2": 7.0, "accuracy": 1e6, "total": 1e6}
    return replace(made, seconds=times, inputs=inputs, parts=parts, **changes)


def test_a_run_says_what_would_decide_and_how_long_it_takes() -> None:
    """A faster cell that lost two of fifty right answers is inconclusive at a limit of 0.9."""
    results = _results(_timed(trial("none", 10.0, 2.0, 50), 20.0), _timed(trial("fp8", 20.0, 1.0, 48), 40.0))
    (entry,) = deciding(results)
    assert (entry.name, entry.against, entry.figure) == ("fp8 · e", "none · e", "accuracy recovered")
    assert (entry.items, entry.unit) == (100, "questions")
    assert entry.times is not None
    assert entry.seconds == pytest.approx((entry.times - 1) * 60)
    more = math.ceil((entry.times - 1) * 100)
    assert deciding_text(entry).startswith(f"decided by about {more} more questions if it stays at 0.960, some ")
    assert results.answer.ahead == ["fp8 · e"]


def test_the_time_is_that_of_what_it_is_compared_with() -> None:
    """The reference of the model is in another engine."""
    cells = [trial("none", 9.0, 2.0, 50, engine="transformers"), *(trial(m, 20.0, 1.0, 48) for m in ("none", "fp8"))]
    results = _results(*(_timed(cell, seconds) for cell, seconds in zip(cells, (1000.0, 10.0, 20.0), strict=True)))
    entries = {entry.name: entry for entry in deciding(results)}
    assert {entry.against for entry in entries.values()} == {"none · transformers"}
    for name, seconds in (("none · e", 1010.0), ("fp8 · e", 1020.0)):
        assert entries[name].seconds == pytest.approx((entries[name].times - 1) * seconds)


def test_what_would_decide_is_printed_where_nothing_is_recommended_yet() -> None:
    """Of a quantized cell alone."""
    made = [trial("none", 10.0, 2.0, 50), trial("fp8", 20.0, 1.0, 48)]
    console = Console(record=True, width=200)
    results = _results(*(_timed(cell, 9.0) for cell in made))
    results = replace(results, cells=results.cells[1:])
    assert results.answer.chosen is None
    print_results(results, console)
    (entry,) = deciding(results)
    assert f"{entry.name}, {entry.figure}: {deciding_text(entry)}" in console.export_text()
    assert as_data(results)["answer"]["open_cells"] == [entry.name]


def test_nothing_more_can_be_asked_of_a_whole_task() -> None:
    made = [trial("none", 10.0, 2.0, 50), trial("fp8", 20.0, 1.0, 48)]
    (entry,) = deciding(_results(*(_timed(cell, 9.0, limit="null") for cell in made)))
    assert (entry.times, entry.why) == (None, "all questions that there are have been scored")
    assert deciding_text(entry) == f"not decided by more questions: {entry.why}"


@pytest.mark.parametrize(("limit", "more"), [("100", True), ("101", False)])
def test_nothing_more_can_be_asked_of_a_task_that_has_fewer_questions_than_its_limit(limit: str, more: bool) -> None:
    made = [trial("none", 10.0, 2.0, 50), trial("fp8", 20.0, 1.0, 48)]
    (entry,) = deciding(_results(*(_timed(cell, 9.0, limit=limit) for cell in made)))
    assert (entry.times is not None) is more


@pytest.mark.parametrize(("most", "more"), [(1032, True), (1162, False)])
def test_nothing_more_can_be_read_of_a_text_that_is_shorter_than_its_limit(most: int, more: bool) -> None:
    """8 windows of 128 scored tokens each; of 129, so that 8 and a part of a window are not scored."""
    made = [trial("none", 10.0, 2.0, 50, 2.0), trial("fp8", 20.0, 1.0, 50, 2.048)]
    texts = [(replace(cell.perplexities[0], max_tokens=most),) for cell in made]
    # intervals differ by windows, so that the limit lies within them
    tokens = texts[1][0].tokens
    uneven = tuple(tuple(v - 0.02 * (-1) ** number for v in window) for number, window in enumerate(tokens))
    texts[1] = (replace(texts[1][0], tokens=uneven),)
    both = [_timed(cell, 9.0, perplexities=text) for cell, text in zip(made, texts, strict=True)]
    entry = next(e for e in deciding(_results(*both, recovery=0.5, ratio=1.05)) if e.figure == "perplexity ratio")
    assert (entry.why != "all tokens of text that there are have been scored") is more


def test_the_tokens_of_one_convention_are_counted() -> None:
    """Of the text whose ratio it is, not of all."""
    made = [trial("none", 10.0, 2.0, 50), trial("fp8", 20.0, 1.0, 50)]
    texts = [(replace(cell.perplexities[0], max_tokens=2048), *cell.perplexities) for cell in made]
    both = [_timed(cell, 9.0, perplexities=text) for cell, text in zip(made, texts, strict=True)]
    entry = next(e for e in deciding(_results(*both, recovery=0.5, ratio=1.1)) if e.figure == "perplexity ratio")
    assert (entry.items, entry.unit) == (8 * 128, "tokens of text")


def test_an_adaptive_budget_that_stopped_is_left_out() -> None:
    made = [trial("none", 10.0, 2.0, 50), trial("fp8", 20.0, 1.0, 48)]
    scores = tuple(replace(score, drawn=400) for score in made[1].scores)
    assert deciding(_results(_timed(made[0], 9.0), _timed(made[1], 9.0, scores=scores))) == []
