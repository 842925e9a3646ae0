"""How many more items decide a limit: by hand, and as often as is promised."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from evals.stats.intervals import Estimate
from reports.decision.results import conclude
from reports.output.formatting import deciding_text
from reports.sections.what_decides import MOST_TIMES, POWER, deciding, times_to_decide
from tests.support.made_trials import ABOUT, trial

SEEDS = 4000


def test_twice_the_distance_takes_a_quarter() -> None:
    near, _ = times_to_decide(Estimate(0.99, 0.93, 1.05, 100), 0.98)
    far, _ = times_to_decide(Estimate(1.00, 0.94, 1.06, 100), 0.98)
    assert near == pytest.approx((1.4294 * 0.06 / 0.01) ** 2, rel=1e-3)
    assert far == pytest.approx(near / 4)


def test_the_half_width_is_that_of_the_side_of_the_limit() -> None:
    above, _ = times_to_decide(Estimate(1.0, 0.97, 1.3, 100), 0.98)
    below, _ = times_to_decide(Estimate(0.96, 0.7, 0.99, 100), 0.98)
    assert above == pytest.approx(below)


@pytest.mark.parametrize(
    ("estimate", "why"),
    [
        (Estimate(0.98, 0.9, 1.06, 50), f"over {MOST_TIMES:g} times as many"),
        (Estimate(0.9801, 0.9, 1.06, 50), f"over {MOST_TIMES:g} times as many"),
        (Estimate(0.1, 0.05, math.inf, 50), "no bound on that side"),
    ],
)
def test_what_more_of_the_same_does_not_decide_says_why(estimate: Estimate, why: str) -> None:
    times, reason = times_to_decide(estimate, 0.98)
    assert times is None
    assert why in reason


@pytest.mark.parametrize("distance", [0.2, 0.5, 1.0, 1.8])
def test_so_many_items_decide_as_often_as_is_promised(distance: float) -> None:
    """Normal means of standard error 1 ÷ 1.96, so that half-widths are 1: the truth is `distance` off the limit."""
    times, _ = times_to_decide(Estimate(distance, distance - 1, distance + 1, 100), 0.0)
    assert times is not None
    errors = np.random.default_rng(0).normal(0, 1 / 1.959964 / math.sqrt(times), SEEDS)
    decided = float(np.mean(np.abs(distance + errors) > 1 / math.sqrt(times)))
    # near the limit it takes at least as many as there are, which may be more than enough
    assert decided == pytest.approx(POWER, abs=0.02) or (times == 1.0 and decided > POWER)


def test_a_run_says_what_would_decide_and_how_long_it_takes() -> None:
    """A faster cell that lost two of fifty right answers is inconclusive at a limit of 0.9."""
    baseline, quantized = trial("none", 10.0, 2.0, 50), trial("fp8", 20.0, 1.0, 48)
    trials = [replace(made, seconds={"accuracy": 60.0, "total": 90.0}) for made in (baseline, quantized)]
    limits = {**ABOUT["limits"], "accuracy_recovery": 0.9, "perplexity_ratio": 2.0}
    results = conclude({**ABOUT, "limits": limits}, trials)
    (entry,) = deciding(results.judged)
    assert (entry.name, entry.figure, entry.items, entry.unit) == ("fp8 · e", "accuracy recovered", 100, "questions")
    assert entry.times is not None
    assert entry.seconds == pytest.approx((entry.times - 1) * 120)
    more = math.ceil((entry.times - 1) * 100)
    assert deciding_text(entry).startswith(f"decided by about {more} more questions if it stays at 0.960, some ")
    assert results.answer.ahead == ["fp8 · e"]
