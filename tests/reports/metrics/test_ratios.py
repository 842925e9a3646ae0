from __future__ import annotations

import math

import numpy as np
import pytest

from evals.stats.intervals import Estimate, mean_t_log
from reports.metrics.ratios import ratio_of_means


def test_a_ratio_of_rates_is_never_negative() -> None:
    """Two repeats that lie far apart: the rate may be anything, but not below zero."""
    wide, sure = mean_t_log([2.0, 10.0]), mean_t_log([9.99, 10.01])
    estimate = ratio_of_means(wide, sure)
    assert estimate.value == pytest.approx(20**0.5 / 10, rel=1e-4)
    assert 0 < estimate.low < 0.01
    assert estimate.high > 1.5
    other = ratio_of_means(sure, wide)
    assert 0 < other.low < 1
    assert 100 < other.high < math.inf
    assert ratio_of_means(sure, mean_t_log([5.0])).high == math.inf
    close = ratio_of_means(sure, sure)  # widths of Student's t with one degree of freedom add up: 2 × 1.27 %
    assert close.low == pytest.approx(1 - 0.025, abs=0.005)
    assert close.high == pytest.approx(1 + 0.025, abs=0.005)


def test_the_ratio_of_two_means_covers_the_true_one() -> None:
    """Three repeats each, spreads of 2 and 6 %: 95 % intervals hold 2 about 95 times in 100."""
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        top, bottom = (
            mean_t_log(200 + 12 * generator.standard_normal(3)),
            mean_t_log(100 + 2 * generator.standard_normal(3)),
        )
        estimate = ratio_of_means(top, bottom)
        held += estimate.low <= 2 <= estimate.high
    assert 0.93 <= held / 2000 <= 0.98


def test_a_ratio_of_single_values_is_unbounded_and_of_exact_ones_exact() -> None:
    single, exact = Estimate(10.0, -math.inf, math.inf, 1), Estimate(5.0, 5.0, 5.0, 3)
    assert ratio_of_means(single, exact) == Estimate(2.0, 0.0, math.inf, 1)
    assert ratio_of_means(exact, exact) == Estimate(1.0, 1.0, 1.0, 3)


def test_there_is_a_single_ratio_of_means() -> None:
    from reports.sections import device_scaling

    assert device_scaling.ratio_of_means is ratio_of_means
