from __future__ import annotations

import math

import numpy as np
import pytest

from evals.stats.intervals import mean_t
from evals.stats.skewed_mean import skewed_mean


@pytest.mark.parametrize("count", [5, 10, 20])
@pytest.mark.parametrize("sigma", [0.5, 0.8, 1.1])
def test_log_normal_prompts_are_covered_where_students_interval_is_too_short(sigma: float, count: int) -> None:
    generator, truth = np.random.default_rng(count), math.exp(sigma * sigma / 2)
    samples = [generator.lognormal(0, sigma, count).tolist() for _ in range(400)]
    held = [estimate.low <= truth <= estimate.high for estimate in map(skewed_mean, samples)]
    below = [estimate.high < truth for estimate in map(skewed_mean, samples)]
    assert np.mean(held) >= 0.93
    assert np.mean(below) <= 0.025 + 2 * math.sqrt(0.025 * 0.975 / 400)
    if sigma > 1:
        assert np.mean([estimate.low <= truth <= estimate.high for estimate in map(mean_t, samples)]) < 0.9


def test_the_lower_end_is_no_further_away_than_it_must_be() -> None:
    """The wider of two lower ends lay above the truth in 0.4 to 0.8 of 100, and the interval held 98 to 99."""
    generator, truth = np.random.default_rng(5), math.exp(0.5**2 / 2)
    lows = [skewed_mean(generator.lognormal(0, 0.5, 5).tolist()).low for _ in range(1000)]
    assert 0.012 <= np.mean([low > truth for low in lows]) <= 0.03


def test_values_that_are_alike_have_about_students_interval() -> None:
    values = np.random.default_rng(0).normal(10, 0.5, 20).tolist()
    ours, by_t = skewed_mean(values), mean_t(values)
    assert ours.value == by_t.value
    assert (ours.low, ours.high) == pytest.approx((by_t.low, by_t.high), rel=0.01)


def test_edges() -> None:
    assert (skewed_mean([0.3]).low, skewed_mean([0.3]).high) == (0.0, math.inf)
    nothing, equal = skewed_mean([0.0, 0.0]), skewed_mean([0.2, 0.2, 0.2])
    assert (nothing.low, nothing.high) == (0.0, 0.0)
    assert (equal.low, equal.high) == pytest.approx((0.2, 0.2))
    few = skewed_mean([0.0, 0.0, 0.0, 0.4])
    assert 0.0 < few.low < 0.1 < few.high
    assert skewed_mean([1e-12, 1.0]).high == math.inf
