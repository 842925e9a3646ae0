"""The clustered comparison by simulation and against closed forms; its edges are in a module of their own.

A simulated share of n trials is allowed three binomial standard errors, √(p (1 − p) ÷ n).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from evals.stats.cluster_bootstrap import ClusteredDifference, blocks, compare_clusters
from evals.stats.intervals import Floats, mean_t
from evals.stats.paired_tests import verdicts

TRIALS = 800
Generate = Callable[[np.random.Generator], tuple[Floats, Floats]]


def _allowed(trials: int, share: float = 0.05) -> float:
    return 3 * math.sqrt(share * (1 - share) / trials)  # 0.023 for 800 trials


def _skewed(generator: np.random.Generator) -> tuple[Floats, Floats]:
    """40 clusters with a mean of 0 per unit: a long tail that a cluster's units share, and noise of their own."""
    sizes = generator.integers(4, 9, 40).astype(float)
    shared = generator.exponential(1.0, 40) - 1
    return shared * sizes + generator.normal(0, 1, 40) * np.sqrt(sizes), sizes


def _flips(up: float, down: float, clusters: int = 150) -> Generate:
    """`up` and `down` of the clusters flip, each in about 8 of 10 of its 1 to 12 units: 0.8 (up − down) per unit."""

    def generate(generator: np.random.Generator) -> tuple[Floats, Floats]:
        sizes = generator.integers(1, 13, clusters)
        signs = generator.choice([1.0, -1.0, 0.0], clusters, p=[up, down, 1 - up - down])
        return signs * generator.binomial(sizes, 0.8), sizes.astype(float)

    return generate


def _compared(
    generate: Generate, trials: int, margin: float, seed: int, shift: float = 0.0
) -> list[ClusteredDifference]:
    generator, differences = np.random.default_rng(seed), []
    for _ in range(trials):
        sums, sizes = generate(generator)
        differences.append(compare_clusters((sums + shift * sizes).tolist(), sizes.tolist(), margin=margin))
    return differences


def _coverage(differences: list[ClusteredDifference], truth: float) -> float:
    return sum(difference.difference.low <= truth <= difference.difference.high for difference in differences) / len(
        differences
    )


def _called_different(differences: list[ClusteredDifference]) -> float:
    return sum(difference.p_different < 0.05 for difference in differences) / len(differences)


def _called_equivalent(differences: list[ClusteredDifference]) -> float:
    return sum(difference.p_equivalent < 0.05 for difference in differences) / len(differences)


@pytest.mark.parametrize(("sign", "error"), [(1, 0.063), (-1, 0.05)])
def test_skewed_differences(sign: int, error: float) -> None:
    """Coverage, and the error of equivalence where the truth is the margin itself.

    At the edge towards which the tail points, that error is 6.3 % (10,000 trials apart from these): a sample without
    the tail has both too small a mean and too small a variance, and 40 clusters are few for such a skewness.
    """
    differences = _compared(_skewed, TRIALS, 0.5, seed=1, shift=sign * 0.5)
    assert abs(_coverage(differences, sign * 0.5) - 0.95) <= _allowed(TRIALS)
    assert _called_equivalent(differences) <= error + _allowed(TRIALS, error)


def test_flips_in_clusters_of_unequal_size() -> None:
    generator, differences, ignoring = np.random.default_rng(2), [], 0
    for _ in range(TRIALS):
        sums, sizes = _flips(0.1, 0.1)(generator)
        differences.append(compare_clusters(sums.tolist(), sizes.tolist(), margin=0.02))
        flips, units = int(np.abs(sums).sum()), int(sizes.sum())
        alone = np.zeros(units)
        alone[:flips] = -1.0
        alone[: (flips + int(sums.sum())) // 2] = 1.0
        estimate = mean_t(alone.tolist())
        ignoring += estimate.low <= 0 <= estimate.high
        assert estimate.value == pytest.approx(differences[-1].difference.value, abs=1e-12)
    assert abs(_coverage(differences, 0.0) - 0.95) <= _allowed(TRIALS)
    assert _called_different(differences) <= 0.05 + _allowed(TRIALS)
    assert ignoring / TRIALS <= 0.6  # 95 % promised


def test_flips_at_the_margin_are_rarely_called_equivalent() -> None:
    trials, truth = 300, 0.8 * (0.25 - 0.05)
    differences = _compared(_flips(0.25, 0.05), trials, truth, seed=3)
    assert abs(_coverage(differences, truth) - 0.95) <= _allowed(trials)
    assert _called_equivalent(differences) <= 0.05 + _allowed(trials)


@pytest.mark.parametrize("expected", [3, 5])
def test_few_flips_either_way_are_rarely_called_different(expected: int) -> None:
    """Where the bootstrap alone takes those that were seen for a law. Conservative, as tests of few flips are."""
    trials, share = 200, expected / 150
    differences = _compared(_flips(share, share), trials, 0.02, seed=4)
    assert _called_different(differences) <= 0.05 + _allowed(trials)
    assert all(
        math.isfinite(difference.difference.low) and math.isfinite(difference.difference.high)
        for difference in differences
    )


def test_dependent_tokens_in_blocks() -> None:
    """AR(1) of ρ = 0.3 and a mean of 0: 60 blocks of 128 tokens."""
    generator = np.random.default_rng(5)
    tokens = generator.normal(0, 1, (60 * 128, TRIALS))
    tokens[0] /= math.sqrt(1 - 0.3**2)
    for before, now in zip(tokens, tokens[1:], strict=False):
        now += 0.3 * before
    edge = 0.05
    differences = [compare_clusters(*blocks((series + edge).tolist(), 128), margin=edge) for series in tokens.T]
    assert all(difference.difference.count == 60 for difference in differences)
    assert abs(_coverage(differences, edge) - 0.95) <= _allowed(TRIALS)
    assert _called_equivalent(differences) <= 0.05 + _allowed(TRIALS)


@pytest.mark.parametrize("clusters", [2, 3, 5])
def test_few_clusters_have_students_interval(clusters: int) -> None:
    """Of one size, the linearised statistic is that of the mean."""
    values = np.random.default_rng(6).normal(0.3, 1, clusters).tolist()
    difference, by_t = compare_clusters([4 * value for value in values], [4.0] * clusters, margin=0.1), mean_t(values)
    assert (difference.difference.low, difference.difference.high) == pytest.approx((by_t.low, by_t.high))
    assert difference.p_different == pytest.approx(float(stats.ttest_1samp(values, 0).pvalue))


def test_a_real_difference_is_found_and_so_is_equivalence() -> None:
    worse = _compared(_skewed, 50, 0.1, seed=7, shift=-1.0)
    assert _called_different(worse) >= 0.9
    assert all(difference.p_equivalent > 0.05 for difference in worse)
    same = _compared(_skewed, 50, 0.8, seed=8)
    assert _called_equivalent(same) >= 0.9
    lost = _compared(_flips(0.01, 0.15), 50, 0.01, seed=9)
    assert _called_different(lost) >= 0.9


def test_the_interval_and_the_test_for_a_difference_agree() -> None:
    for difference in _compared(_skewed, 150, 0.1, seed=10, shift=0.36):
        outside = not difference.difference.low <= 0 <= difference.difference.high
        assert outside == (difference.p_different < 0.05)


def test_the_estimate_is_a_ratio_of_sums() -> None:
    sums, sizes = [1.0, -3.0, 2.0, 0.5, 4.0, -1.0, 2.0], [2.0, 3.0, 5.0, 1.0, 9.0, 4.0, 6.0]
    difference = compare_clusters(sums, sizes, margin=0.1)
    assert difference.difference.value == pytest.approx(5.5 / 30)
    assert difference.difference.count == 7
    assert difference.difference.low < 5.5 / 30 < difference.difference.high
    assert compare_clusters(sums, sizes, margin=0.1, confidence=0.8).difference.low > difference.difference.low


def test_the_seed_decides_the_result() -> None:
    sums, sizes = _skewed(np.random.default_rng(11))
    difference, again, other = (
        compare_clusters(sums.tolist(), sizes.tolist(), margin=0.1, seed=seed) for seed in (3, 3, 4)
    )
    assert difference == again
    assert difference != other
    assert difference.difference.low == pytest.approx(other.difference.low, abs=0.1)


def test_other_units_of_measurement_change_nothing_else() -> None:
    """Squares of such small or large residuals would leave the range of floats."""
    sums, sizes = _skewed(np.random.default_rng(12))
    difference = compare_clusters(sums.tolist(), sizes.tolist(), margin=0.1)
    for factor in (2.0**-600, 2.0**600):
        other = compare_clusters((sums * factor).tolist(), sizes.tolist(), margin=0.1 * factor)
        assert other.difference.high == pytest.approx(difference.difference.high * factor, rel=1e-9)
        assert other.p_equivalent == difference.p_equivalent


def test_no_p_value_depends_on_the_number_of_resamples_and_none_is_zero() -> None:
    generator = np.random.default_rng(13)
    sums = (100 + generator.normal(0, 1, 40)).tolist()
    difference = compare_clusters(sums, [1.0] * 40, margin=1e6)
    assert 0 < difference.p_different < 1e-9
    assert 0 < difference.p_equivalent < 1e-20
    alike = compare_clusters([-1.0] * 3000, [1.0] * 3000, margin=0.01)
    assert 0 < alike.p_different < 1e-100


def test_a_ruined_checkpoint_among_ten_thousand_comparisons_is_worse() -> None:
    """A perplexity ratio of 4.96 on 32 blocks of tokens; all others are as good as their baseline."""
    generator = np.random.default_rng(16)
    losses = (-math.log(4.96) + generator.normal(0, 0.1, 32)) * 128
    ruined = compare_clusters(losses.tolist(), [128.0] * 32, margin=0.01)
    family = [(ruined.p_different, ruined.p_equivalent, False), *[(0.5, 0.5, False)] * 9_999]
    assert verdicts(family)[0] == "worse"


@pytest.mark.parametrize("confidence", [0.99967, 0.999_999])
def test_an_interval_of_any_confidence_has_ends(confidence: float) -> None:
    sums, sizes = _skewed(np.random.default_rng(17))
    usual = compare_clusters(sums.tolist(), sizes.tolist(), margin=0.1).difference
    sure = compare_clusters(sums.tolist(), sizes.tolist(), margin=0.1, confidence=confidence).difference
    assert -20 < sure.low < usual.low < usual.high < sure.high < 20
