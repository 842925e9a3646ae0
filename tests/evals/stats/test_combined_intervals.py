"""Combined intervals against closed forms and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evals.stats.combined_intervals import mean_of, recovery_of
from evals.stats.intervals import Estimate, exact, proportion


def test_symmetric_parts_give_the_root_of_the_sum_of_squares() -> None:
    mean = mean_of([Estimate(1.0, 0.7, 1.3, 10), Estimate(2.0, 1.6, 2.4, 20)])
    assert (mean.value, mean.count) == (1.5, 30)
    assert (mean.low, mean.high) == pytest.approx((1.25, 1.75))


def test_lopsided_parts_give_a_lopsided_mean_and_one_part_is_itself() -> None:
    mean = mean_of([proportion(20, 20), proportion(20, 20)])
    assert (mean.value, mean.high) == (1.0, 1.0)
    assert mean.low == pytest.approx(1 - (1 - proportion(20, 20).low) / math.sqrt(2))
    assert mean_of([proportion(3, 7)]) == proportion(3, 7)


def test_against_an_exact_baseline_the_difference_decides() -> None:
    ratio = recovery_of(Estimate(-0.05, -0.1, 0.02, 100), exact(0.5), 0.0)
    assert (ratio.low, ratio.value, ratio.high) == pytest.approx((0.8, 0.9, 1.04))


@pytest.mark.parametrize("side", [1, -1])
def test_independent_parts_give_fiellers_interval(side: int) -> None:
    """(d − x b)² = e² + x² f² by hand: d = 0.3, b = 1, e = 0.1, f = 0.2 for both sides."""
    ratio = recovery_of(Estimate(side * 0.3, side * 0.3 - 0.1, side * 0.3 + 0.1, 9), Estimate(1.0, 0.8, 1.2, 9), 0.0)
    roots = sorted(side * (0.3 + sign * math.sqrt(0.09 - 0.96 * 0.08)) / 0.96 for sign in (-1, 1))
    assert (ratio.low - 1, ratio.high - 1) == pytest.approx(roots)


def test_a_baseline_that_may_be_nothing_leaves_the_ratio_open() -> None:
    ratio = recovery_of(Estimate(0.0, -0.3, 0.3, 10), proportion(0, 10), 0.0)
    assert (ratio.low, ratio.value, ratio.high) == (0.0, 1.0, math.inf)
    unknown = recovery_of(Estimate(0.1, -math.inf, math.inf, 1), proportion(5, 10), 0.0)
    assert (unknown.low, unknown.high) == (0.0, math.inf)


def test_a_correlation_that_is_known_makes_it_no_wider_than_it_is() -> None:
    generator, held, widths = np.random.default_rng(0), np.zeros(2), np.zeros(2)
    for _ in range(1500):
        d, b = generator.multivariate_normal([-0.2, 0.6], [[0.0016, -0.0008], [-0.0008, 0.0009]])
        for way, correlation in enumerate((0.0, -2 / 3)):
            ratio = recovery_of(
                Estimate(d, d - 0.0784, d + 0.0784, 9), Estimate(b, b - 0.0588, b + 0.0588, 9), correlation
            )
            held[way] += ratio.low <= 2 / 3 <= ratio.high
            widths[way] += ratio.high - ratio.low
    assert abs(held[1] / 1500 - 0.95) <= 3 * math.sqrt(0.95 * 0.05 / 1500)
    assert widths[1] < widths[0]
