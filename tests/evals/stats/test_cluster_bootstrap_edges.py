"""The clustered comparison at its edges: few clusters, few flips, no variance, many clusters."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from scipy import stats

from evals.stats import cluster_bootstrap
from evals.stats.cluster_bootstrap import blocks, compare_clusters


def test_one_cluster_shows_nothing() -> None:
    difference = compare_clusters([3.0], [4.0], margin=0.5)
    assert (difference.difference.value, difference.difference.low, difference.difference.high) == (
        0.75,
        -math.inf,
        math.inf,
    )
    assert (difference.difference.count, difference.p_different, difference.p_equivalent) == (1, 1.0, 1.0)


def test_no_flip_in_few_clusters_is_no_proof_and_in_many_it_is_one() -> None:
    """A share of 1 % of clusters that flip stays unseen in 298 clusters with a probability of 0.99²⁹⁸ = 5.003 %."""
    few, many = (compare_clusters([0.0] * count, [1.0] * count, margin=0.01) for count in (298, 299))
    assert few.p_equivalent == pytest.approx(0.99**298)
    assert few.p_equivalent > 0.05 > many.p_equivalent
    assert few.p_different == many.p_different == 1.0
    exact = float(stats.binomtest(0, 298).proportion_ci(0.95, method="exact").high)  # Clopper and Pearson's
    assert (few.difference.value, few.difference.low, few.difference.high) == pytest.approx((0.0, -exact, exact))
    assert compare_clusters([0.0] * 4, [1.0] * 4, margin=100.0).p_equivalent > 0.05


def test_a_flip_could_have_been_in_the_largest_cluster() -> None:
    sizes = [1.0] * 50 + [3.0] * 50
    difference = compare_clusters([0.0] * 100, sizes, margin=0.03)
    assert difference.p_equivalent == pytest.approx((1 - 0.03 * 2 / 3) ** 100)


@pytest.mark.parametrize("clusters", [3, 8])
def test_flips_that_all_go_one_way_have_the_sign_tests_p(clusters: int) -> None:
    difference = compare_clusters([-1.0] * clusters, [1.0] * clusters, margin=0.01)
    assert difference.p_different == pytest.approx(float(stats.binomtest(0, clusters).pvalue))
    assert difference.p_equivalent == 1.0
    assert difference.difference.low < -1.0 < difference.difference.high


def test_equal_ratios_have_no_variance_whatever_their_rounding() -> None:
    sizes = [float(size) for size in range(1, 31)]
    difference = compare_clusters([0.1 * size for size in sizes], sizes, margin=0.05)
    assert difference.difference.value == pytest.approx(0.1)
    assert difference.difference.high - difference.difference.low > 0.1
    assert difference.p_equivalent == 1.0


@pytest.mark.parametrize("flips", [1, 2, 3, 5, 6, 7])
def test_few_flips_have_bounds_and_are_significant_from_six_one_way_on(flips: int) -> None:
    """As by the sign test; three flips are missed by 5 % of the resamples, which then have no variance."""
    difference = compare_clusters([1.0] * flips + [0.0] * (400 - flips), [1.0] * 400, margin=0.01)
    assert all(math.isfinite(end) for end in (difference.difference.low, difference.difference.high))
    assert difference.difference.high < 17 / 400
    assert (difference.p_different < 0.05) == (flips >= 6)


def test_noise_does_not_hide_that_only_two_clusters_differ() -> None:
    noise = np.random.default_rng(14).normal(0, 1e-6, 100)
    noise[:2] += 1.0
    difference = compare_clusters(noise.tolist(), [1.0] * 100, margin=0.1)
    assert -0.1 < difference.difference.low < 0.0 < difference.difference.high < 0.1


def test_a_resample_without_variance_has_an_extreme_score_that_is_a_number() -> None:
    scores = cluster_bootstrap._resampled(
        np.array([1.0, -1.0]), np.ones(2), 0
    )  # a half of these draw one cluster twice
    assert np.isfinite(scores).all()
    assert scores[0] == pytest.approx(-100.0)
    assert scores[-1] == pytest.approx(100.0)


def test_many_clusters_need_little_memory() -> None:
    generator = np.random.default_rng(15)
    errors, weights = generator.normal(0, 1, 100_000), np.ones(100_000)
    tracemalloc.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster_bootstrap, "RESAMPLES", 20)  # more of them are drawn one after the other
        scores = cluster_bootstrap._resampled(errors, weights, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(scores) == 20
    assert peak < 50e6


def test_blocks_are_consecutive_and_the_tail_is_its_own() -> None:
    assert blocks([1.0, 2.0, 3.0, 4.0, 5.0], 2) == ([3.0, 7.0, 5.0], [2.0, 2.0, 1.0])
    assert blocks([1.0, 2.0], 2) == ([3.0], [2.0])
    assert blocks([], 2) == ([], [])
    with pytest.raises(ValueError, match="a block must hold at least one value, not 0"):
        blocks([1.0], 0)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="2 sums of clusters cannot go with 1 sizes"):
        compare_clusters([1.0, 2.0], [1.0], margin=0.1)
    with pytest.raises(ValueError, match="0 sums of clusters cannot go with 0 sizes"):
        compare_clusters([], [], margin=0.1)
    for size in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="every size of a cluster must be a positive number of units"):
            compare_clusters([1.0, 2.0], [1.0, size], margin=0.1)
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="every sum of a cluster must be finite"):
            compare_clusters([1.0, value], [1.0, 1.0], margin=0.1)
    for margin in (0.0, -0.1, math.nan):
        with pytest.raises(ValueError, match="the margin must be positive, not"):
            compare_clusters([1.0, 2.0], [1.0, 1.0], margin=margin)
    for confidence in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="a confidence must lie between 0 and 1, not"):
            compare_clusters([1.0, 2.0], [1.0, 1.0], margin=0.1, confidence=confidence)
