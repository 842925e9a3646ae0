"""Draws of means: calibration of intervals and of expected regret by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from evals.rounds.block_model import BlockFit, fit_blocks
from evals.rounds.posterior import choices, chosen_bounds, mean_draws


def seen(means, scale=0.05, rounds=4, degrees=20):
    cells = len(means)
    return BlockFit(np.asarray(means, float), np.eye(cells) / rounds, np.float64(scale), np.float64(degrees))


def drawn(fit):
    return mean_draws(fit, np.random.default_rng(0))


def test_a_clear_lead() -> None:
    choice = choices(drawn(seen([0.5, 0.0, 0.01, -0.02])))
    assert choice.best[0] > 0.999
    assert choice.regret[0] < 1e-4
    assert choice.regret[1] == pytest.approx(1 - np.exp(-0.5), abs=0.03)
    assert choice.regret_95[1] > choice.regret[1]


def test_tied_cells_are_the_best_equally_often() -> None:
    np.testing.assert_allclose(choices(drawn(seen([0.0] * 5))).best, 0.2, atol=0.03)


def test_the_first_of_cells_that_differ_by_chance_is_drawn_back_and_a_far_one_is_not() -> None:
    by_chance = np.array([0.04, 0.01, 0.0, -0.01, -0.01, -0.03])
    assert drawn(seen(by_chance))[:, 0].mean() < 0.03
    far = by_chance + np.array([0.5, 0, 0, 0, 0, 0])
    assert drawn(seen(far))[:, 0].mean() == pytest.approx(0.54, abs=0.01)


def test_two_cells_are_no_field() -> None:
    draws = drawn(seen([0.1, 0.0]))
    np.testing.assert_allclose(draws.mean(axis=0), [0.1, 0.0], atol=0.003)
    assert draws[:, 0].std() == pytest.approx(0.05 / 2 * np.sqrt(20 / 18), rel=0.05)


@pytest.mark.parametrize("lead", [0.0, 0.05, 0.15])
def test_the_first_cells_interval_holds(lead: float) -> None:
    generator, truth = np.random.default_rng(4), np.array([lead, 0, 0, 0, 0, 0])
    fit = fit_blocks(truth[:, None] + 0.05 * generator.standard_normal((500, 6, 4)))
    draws = mean_draws(fit, generator, 400)
    first = choices(draws).regret.argmin(axis=1)
    bounds = chosen_bounds(fit, draws, first)
    held = (bounds.low <= truth[first]) & (truth[first] <= bounds.high)
    assert 0.925 <= held.mean() <= 0.985


def test_expected_regret_is_what_is_given_away() -> None:
    generator = np.random.default_rng(6)
    truth = 0.06 * generator.standard_normal((600, 6))
    fit = fit_blocks(truth[:, :, None] + 0.05 * generator.standard_normal((600, 6, 3)))
    choice = choices(mean_draws(fit, generator, 400))
    first = choice.regret.argmin(axis=1)[:, None]
    lost = 1 - np.exp(np.take_along_axis(truth, first, axis=1)[:, 0] - truth.max(axis=1))
    assert np.take_along_axis(choice.regret, first, axis=1).mean() == pytest.approx(lost.mean(), abs=0.005)
    assert (lost <= np.take_along_axis(choice.regret_95, first, axis=1)[:, 0]).mean() == pytest.approx(0.95, abs=0.03)
    best = np.take_along_axis(choice.best, first, axis=1).mean()
    assert best == pytest.approx((lost == 0).mean(), abs=0.06)


@pytest.mark.filterwarnings("error")
def test_a_cell_that_is_thousands_of_errors_away_breaks_no_draw() -> None:
    """A quiet machine, and a cell that is twenty times as slow."""
    errors = np.random.default_rng(0).standard_normal((5, 6)) * 0.0002
    fit = fit_blocks(np.log([[100.0], [101.0], [100.5], [99.0], [5.0]]) + errors)
    drawn = mean_draws(fit, np.random.default_rng(0))
    assert np.isfinite(drawn).all()
    assert choices(drawn).best.tolist() == [0, 1, 0, 0, 0]
    assert drawn[:, 4].mean() == pytest.approx(np.log(5.0), abs=0.003)


def test_a_cell_that_may_not_win_is_no_rival_in_that_draw() -> None:
    """The second is faster for certain, and may win in three of four draws; so the first is the best in the rest."""
    draws = np.tile([0.0, 0.1], (8000, 1))
    may_win = np.stack([np.ones(8000, dtype=bool), np.arange(8000) % 4 > 0], axis=1)
    choice = choices(draws, may_win)
    assert choice.best.tolist() == [0.25, 0.75]
    assert choice.fastest.tolist() == [0.25, 1.0]
    assert choice.regret[0] == pytest.approx(0.75 * (1 - np.exp(-0.1)))
    assert choice.regret[1] == 0.0
    assert choice.regret_95[0] == pytest.approx(1 - np.exp(-0.1))
