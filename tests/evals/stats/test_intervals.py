"""Intervals against simulated truth, and against numbers worked out elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from evals.stats.intervals import (
    exact,
    mean_t,
    percentile_interval,
    percentiles,
    proportion,
    ratio_of_sums,
)

TRIALS = 400


def _coverage(hits: int) -> float:
    return hits / TRIALS


def test_t_interval_by_hand() -> None:
    estimate = mean_t([1.0, 2.0, 3.0])
    assert estimate.value == 2.0
    assert estimate.high - estimate.value == pytest.approx(4.302653 * 1.0 / math.sqrt(3), rel=1e-6)


def test_one_value_has_no_interval() -> None:
    assert mean_t([5.0]).low == -math.inf


def test_t_interval_covers() -> None:
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(TRIALS):
        estimate = mean_t(generator.normal(10, 2, 5).tolist())
        hits += estimate.low <= 10 <= estimate.high
    assert 0.92 <= _coverage(hits) <= 0.98


def test_wilson_by_hand() -> None:
    estimate = proportion(8, 10)  # Wilson (1927): 0.4901625, 0.9433178
    assert (estimate.low, estimate.high) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)


@pytest.mark.parametrize("truth", [0.05, 0.25, 0.5, 0.9])
def test_wilson_covers(truth: float) -> None:
    generator = np.random.default_rng(2)
    hits = 0
    for _ in range(TRIALS):
        estimate = proportion(int(generator.binomial(60, truth)), 60)
        hits += estimate.low <= truth <= estimate.high
    assert 0.91 <= _coverage(hits) <= 0.99


def test_ratio_of_sums_covers() -> None:
    generator = np.random.default_rng(4)
    hits = 0
    for _ in range(TRIALS):
        words = generator.integers(50, 500, 60).astype(float)
        loglikelihood = -3.0 * words + generator.normal(0, 20, 60)
        estimate = ratio_of_sums(loglikelihood.tolist(), words.tolist())
        hits += estimate.low <= -3.0 <= estimate.high
    assert 0.90 <= _coverage(hits) <= 0.98


def test_percentile_interpolates_between_order_statistics() -> None:
    assert percentiles([4.0, 1.0, 3.0, 2.0], (0, 50, 100)) == [1.0, 2.5, 4.0]


def test_a_decreasing_function_swaps_the_ends() -> None:
    estimate = exact(2.0).map(lambda x: -x)
    assert (estimate.low, estimate.value, estimate.high) == (-2.0, -2.0, -2.0)
    wide = mean_t([1.0, 3.0]).map(lambda x: -x)
    assert wide.low < wide.value < wide.high


def test_wilsons_interval_is_scipys() -> None:
    for successes, count in ((0, 5), (5, 5), (1, 3), (38, 100), (500, 1000)):
        estimate = proportion(successes, count)
        theirs = stats.binomtest(successes, count).proportion_ci(0.95, method="wilson")
        assert (estimate.low, estimate.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_the_middle_of_a_percentiles_interval_is_the_percentile() -> None:
    values = np.random.default_rng(0).normal(size=37).tolist()
    for percent in (0, 1, 50, 90, 99.9, 100):
        assert percentile_interval(values, percent).value == pytest.approx(np.percentile(values, percent), rel=1e-12)
