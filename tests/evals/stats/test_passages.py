"""Means of items that share passages, by simulation and at their edges."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evals.stats.intervals import mean_t, proportion
from evals.stats.passages import mean_estimate, variance_of_mean

NAMES = tuple(f"p{number // 10}" for number in range(200))


def test_items_of_their_own_have_the_usual_intervals() -> None:
    alone = tuple(f"p{number}" for number in range(3))
    assert mean_estimate([1.0, 0.0, 1.0], ("", "", "")) == mean_estimate([1.0, 0.0, 1.0], alone) == proportion(2, 3)
    assert mean_estimate([0.2, 0.3, 0.7], alone) == mean_t([0.2, 0.3, 0.7])
    assert variance_of_mean([0.2, 0.3, 0.7], alone) == pytest.approx(np.var([0.2, 0.3, 0.7], ddof=1) / 3)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("spread", [0.3, 2.0, 50.0])
def test_means_over_passages_cover(spread: float, binary: bool) -> None:
    """From passages that are nearly all right or all wrong to ones that are alike."""
    generator, held = np.random.default_rng(1), 0
    for _ in range(400):
        luck = np.repeat(generator.beta(0.7 * spread, 0.3 * spread, 20), 10)
        values = (generator.random(200) < luck).astype(float) if binary else luck + generator.normal(0, 0.1, 200)
        estimate = mean_estimate(values.tolist(), NAMES)
        held += estimate.low <= 0.7 <= estimate.high
    assert 0.92 <= held / 400 <= 0.99


def test_where_all_are_right_passages_are_counted_not_questions() -> None:
    estimate = mean_estimate([1.0] * 200, NAMES)
    assert (estimate.value, estimate.high, estimate.count) == (1.0, 1.0, 200)
    assert 1 - estimate.low == pytest.approx(1 - proportion(20, 20).low, rel=0.2)


def test_one_passage_says_next_to_nothing() -> None:
    assert mean_estimate([1.0, 0.0, 1.0, 1.0], ("p",) * 4).low < 0.15
    assert mean_estimate([0.5, 0.1], ("p",) * 2).high == math.inf
    assert variance_of_mean([0.5, 0.1], ("p",) * 2) == math.inf
