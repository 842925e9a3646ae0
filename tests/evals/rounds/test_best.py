"""Critical values against published tables and other implementations; who may be the best."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from evals.rounds.best import against_the_best
from evals.rounds.block_model import BlockFit, fit_blocks

ROUNDS = 4
PAIR = np.sqrt(2 / ROUNDS)


def balanced(means, degrees, scale=1.0):
    cells = len(means)
    return BlockFit(np.asarray(means, float), np.eye(cells) / ROUNDS, np.float64(scale), np.float64(degrees))


# Dunnett, A multiple comparison procedure for comparing several treatments with a control, JASA 50, 1955, table 1a
@pytest.mark.parametrize(
    ("others", "degrees", "published"),
    [(1, 10, 1.81), (3, 10, 2.34), (5, 10, 2.56), (5, 20, 2.39), (2, 5, 2.44), (5, 1e6, 2.23)],
)
def test_dunnetts_published_values(others: int, degrees: float, published: float) -> None:
    comparison = against_the_best(balanced(np.zeros(others + 1), degrees))
    np.testing.assert_allclose(comparison.high / PAIR, published, atol=0.015)


def test_unbalanced_values_agree_with_the_multivariate_t() -> None:
    logs = np.zeros((4, 5)) + 0.01 * np.random.default_rng(1).standard_normal((4, 5))
    logs[2, 2:] = np.nan
    logs[3, 3:] = np.nan
    fit = fit_blocks(logs)
    fit = BlockFit(np.zeros(4), fit.unscaled, np.float64(1.0), fit.degrees)
    standard = fit.standard_errors()
    critical = against_the_best(fit).high[0] / standard[0, 1:].min()
    contrasts = np.concatenate([-np.ones((3, 1)), np.eye(3)], axis=1)
    covariance = contrasts @ fit.unscaled @ contrasts.T
    correlation = covariance / np.outer(standard[0, 1:], standard[0, 1:])
    inside = stats.multivariate_t(shape=correlation, df=int(fit.degrees), seed=0).cdf(np.full(3, critical))
    assert inside == pytest.approx(0.95, abs=0.003)


def test_who_may_be_best() -> None:
    comparison = against_the_best(balanced([0.0, -0.01, -0.5, -0.6], 9, scale=0.05))
    np.testing.assert_array_equal(comparison.may_be_best, [True, True, False, False])
    assert comparison.low[0] < 0
    assert comparison.high[2] == 0
    assert comparison.low[2] < -0.5 < comparison.low[1]


def test_one_that_is_far_ahead_is_behind_none() -> None:
    comparison = against_the_best(balanced([0.3, 0.0, -0.1], 9, scale=0.02))
    np.testing.assert_array_equal(comparison.may_be_best, [True, False, False])
    assert comparison.low[0] == 0


def test_a_single_cell_is_the_best() -> None:
    assert against_the_best(balanced([0.0], 3)).may_be_best.all()


def test_all_of_hsus_intervals_hold_together() -> None:
    generator, truth = np.random.default_rng(2), np.array([0.0, -0.02, -0.02, -0.1])
    best_other = np.array([max(np.delete(truth, cell)) for cell in range(4)])
    held = []
    for _ in range(50):
        comparison = against_the_best(fit_blocks(truth[:, None] + 0.05 * generator.standard_normal((4, 4))))
        apart = truth - best_other
        held.append(bool(((comparison.low <= apart) & (apart <= comparison.high)).all()))
    assert np.mean(held) >= 0.9
