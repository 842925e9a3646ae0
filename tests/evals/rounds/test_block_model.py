"""The model of blocks, by planted truths, ordinary least squares and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from evals.rounds.block_model import NoisePrior, NotEstimable, fit_blocks, learnt_noise, table, without_disturbed

SPEEDS = np.log([100.0, 90.0, 60.0, 55.0])
ROUNDS = np.log([1.0, 0.8, 1.1, 0.9, 1.0])
SMALL = 0.01 * np.random.default_rng(5).standard_normal((4, 5))
UNCUT = NoisePrior(1.0, 1e6)  # a scale so large that no error is cut


def planted(noise=0.0):
    return SPEEDS[:, None] + ROUNDS + noise


def some_missing(logs):
    logs = logs.copy()
    logs[2, 3:] = np.nan
    logs[3, [1, 2, 4]] = np.nan
    return logs


def test_missing_visits_do_not_move_the_others() -> None:
    fit = fit_blocks(some_missing(planted()))
    np.testing.assert_allclose(fit.means, SPEEDS + ROUNDS.mean(), atol=1e-9)
    assert fit.degrees == 15 - (4 + 5 - 1)


def beside_others(*places):
    disturbed = np.zeros((4, 5), dtype=bool)
    for place in places:
        disturbed[place] = True
    return disturbed


def test_a_disturbed_visit_is_as_if_it_had_not_been_made() -> None:
    logs, expected = planted(SMALL), planted(SMALL)
    logs[1, [0, 3]] -= 0.4
    expected[1, [0, 3]] = np.nan
    np.testing.assert_array_equal(without_disturbed(logs, beside_others((1, 0), (1, 3))), expected)


def test_a_cell_that_was_always_disturbed_keeps_its_visits() -> None:
    always = beside_others(*((1, block) for block in range(5)), (2, 4))
    left = without_disturbed(planted(SMALL), always)
    assert np.argwhere(np.isnan(left)).tolist() == [[2, 4]]


@pytest.mark.parametrize(
    "disturbed",
    [
        pytest.param([(0, 1), (1, 0), (2, 0), (3, 0)], id="no block has the first cell and another one"),
        pytest.param([(0, 1), (1, 1), (2, 1), (3, 1)], id="one block says nothing of the noise"),
    ],
)
def test_a_table_that_would_say_too_little_keeps_all(disturbed: list[tuple[int, int]]) -> None:
    logs = planted(SMALL)[:, :2]
    np.testing.assert_array_equal(without_disturbed(logs, beside_others(*disturbed)[:, :2]), logs)


def test_each_table_is_looked_at_alone() -> None:
    logs = np.stack([planted(SMALL)[:, :2], planted(SMALL)[:, 2:4]])
    disturbed = np.stack([beside_others((0, 1), (1, 1), (2, 1), (3, 1))[:, :2], beside_others((0, 1))[:, :2]])
    left = without_disturbed(logs, disturbed)
    assert np.argwhere(np.isnan(left)).tolist() == [[1, 0, 1]]


def test_visits_of_a_single_cell_are_left_out_too() -> None:
    logs, disturbed = planted(SMALL)[:1], beside_others((0, 2))[:1]
    assert np.isnan(without_disturbed(logs, disturbed)).tolist() == disturbed.tolist()


def test_some_cells_of_a_fit_are_compared_as_they_were_among_all() -> None:
    fit = fit_blocks(some_missing(planted(SMALL)))
    pair = fit.among([3, 0])
    np.testing.assert_array_equal(pair.differences()[0, 1], fit.differences()[3, 0])
    np.testing.assert_array_equal(pair.standard_errors()[0, 1], fit.standard_errors()[3, 0])
    np.testing.assert_array_equal(fit.among([3, 0], less=True).means, -pair.means)


def test_means_of_complete_rounds_are_geometric_means() -> None:
    logs = planted(SMALL)
    fit = fit_blocks(logs, UNCUT)
    np.testing.assert_allclose(fit.means, logs.mean(axis=1), atol=1e-9)
    np.testing.assert_allclose(np.diag(fit.unscaled), 1 / 5)
    assert fit_blocks(logs).degrees == 12


def test_least_squares_with_missing_visits() -> None:
    logs = some_missing(planted(SMALL))
    cells, rounds = np.nonzero(~np.isnan(logs))
    design = np.concatenate([cells[:, None] == np.arange(4), rounds[:, None] == np.arange(5)], axis=1).astype(float)
    effects = np.linalg.lstsq(design, logs[cells, rounds], rcond=None)[0]
    fit = fit_blocks(logs, UNCUT)
    np.testing.assert_allclose(fit.differences(), effects[:4, None] - effects[None, :4], atol=1e-9)
    inverse = np.linalg.pinv(design.T @ design)
    for first, second in ((0, 1), (0, 3), (2, 3)):
        contrast = np.zeros(9)
        contrast[first], contrast[second] = 1, -1
        variance = contrast @ inverse @ contrast
        assert fit.standard_errors()[first, second] == pytest.approx(np.sqrt(variance), rel=1e-3)


def test_the_scale_is_right_on_average_and_the_means_covariance_too() -> None:
    noise = 0.05 * np.random.default_rng(0).standard_normal((2000, 6, 4))
    fit = fit_blocks(noise)
    assert np.mean(fit.scale**2) == pytest.approx(0.05**2, rel=0.03)
    stated = (fit.scale**2 * fit.unscaled[:, 0, 0]).mean()
    assert fit.means[:, 0].var() == pytest.approx(stated, rel=0.06)


def test_races_at_once_are_races_one_by_one() -> None:
    logs = np.stack([some_missing(planted(SMALL)), planted(3 * SMALL)])
    both = fit_blocks(logs, NoisePrior(np.array([1e-4, 4e-4]), 8.0))
    for race, variance in enumerate((1e-4, 4e-4)):
        alone = fit_blocks(logs[race], NoisePrior(variance, 8.0))
        np.testing.assert_allclose(both.means[race], alone.means, atol=1e-6)
        np.testing.assert_allclose(both.scale[race], alone.scale, rtol=1e-4)


def test_a_visit_beside_a_burst_weighs_little() -> None:
    logs = planted(SMALL)
    logs[0, 1] += np.log(0.65)
    least_squares = abs(logs[0].mean() - planted(SMALL)[0].mean())
    assert abs(fit_blocks(logs).means[0] - fit_blocks(planted(SMALL)).means[0]) < least_squares / 3


def test_a_round_on_another_host_is_a_block_of_its_own() -> None:
    fast, slow = planted()[:, :2], planted()[:3, :2] - np.log(3)
    logs = np.concatenate([fast, np.concatenate([slow, np.full((1, 2), np.nan)])], axis=1)
    np.testing.assert_allclose(fit_blocks(logs).differences(), SPEEDS[:, None] - SPEEDS, atol=1e-9)


def test_cells_that_were_never_together_cannot_be_compared() -> None:
    logs = planted()[:, :4].copy()
    logs[:2, 2:] = np.nan
    logs[2:, :2] = np.nan
    with pytest.raises(NotEstimable, match=r"never visited in one round.*Visit all cells in the first round"):
        fit_blocks(logs)
    logs[1, 2] = SPEEDS[1] + ROUNDS[2]  # one visit links the two halves
    np.testing.assert_allclose(fit_blocks(logs).differences(), SPEEDS[:, None] - SPEEDS, atol=1e-9)


def test_one_round_says_nothing_of_noise_and_a_prior_does() -> None:
    first = planted()[:, :1]
    with pytest.raises(NotEstimable, match=r"leave 0 degrees of freedom for their noise \(1\)\. Make another round"):
        fit_blocks(first)
    fit = fit_blocks(first, NoisePrior(0.05**2, 10.0))
    assert fit.degrees == 10
    assert fit.scale == pytest.approx(0.05)


def test_a_prior_counts_as_many_visits_as_it_has_degrees() -> None:
    logs = planted(SMALL)
    alone, known = fit_blocks(logs), fit_blocks(logs, NoisePrior(0.05**2, 12.0))
    assert known.degrees == alone.degrees + 12
    assert alone.scale < known.scale < 0.05


def test_noise_is_learnt_by_how_much_each_sweep_saw_of_it() -> None:
    learnt = learnt_noise([NoisePrior(0.01, 2.0), NoisePrior(0.04, 10.0)])
    assert learnt.variance == pytest.approx(0.035)
    assert learnt.degrees == 12
    assert learnt_noise([NoisePrior(0.01, 50.0)]) == NoisePrior(pytest.approx(0.01), 20.0)
    assert learnt_noise([]) == NoisePrior(0.0, 0.0)


def test_a_single_cell_has_the_spread_of_its_visits() -> None:
    logs = np.log([[100.0, 110.0, 90.0, np.nan]])
    fit = fit_blocks(logs)
    assert fit.scale == pytest.approx(np.nanstd(logs, ddof=1))
    assert fit.degrees == 2
    assert fit.unscaled[0, 0] == pytest.approx(1 / 3)


def test_a_table_of_visits() -> None:
    logs = table([(0, 0, 100.0), (1, 0, 50.0), (1, 1, 60.0), (0, 0, 80.0)], cells=3)
    np.testing.assert_allclose(np.exp(logs), [[80, np.nan], [50, 60], [np.nan, np.nan]])


def test_a_disturbed_block_of_two_cells_counts_little() -> None:
    """Whole rounds of six cells, then rounds of two of them; in some a burst slows one of the two by 35 %."""
    generator = np.random.default_rng(0)
    logs = 0.05 * generator.standard_normal((300, 6, 9))
    logs[:, 2:, 3:] = np.nan
    quiet = fit_blocks(logs)
    logs[:, 0, 4] += np.log(0.65)
    logs[:, 1, 7] += np.log(0.65)
    fit = fit_blocks(logs)
    assert fit.means[:, 0].mean() == pytest.approx(
        quiet.means[:, 0].mean(), abs=0.025
    )  # two ninths of half a burst: 0.048


def test_blocks_count_by_their_visits() -> None:
    """Of the same cells: what a block has in common with no other is averaged over visits."""
    logs = np.array([[0.0, 0.3, 0.3], [0.1, 0.4, np.nan], [0.2, 0.5, np.nan]])
    fit = fit_blocks(logs, NoisePrior(0.05**2, 20.0))
    assert fit.means.tolist() == pytest.approx([0.0 + 4 / 7 * 0.3, 0.1 + 4 / 7 * 0.3, 0.2 + 4 / 7 * 0.3])
