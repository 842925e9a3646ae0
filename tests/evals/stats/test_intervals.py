"""Intervals against simulated truth, and against numbers worked out elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evals.stats.intervals import (
    Clustered,
    _order_places,
    _tolerance_factor,
    exact,
    independent,
    least_count,
    mean_t,
    mean_t_log,
    percentile_interval,
    percentiles,
    product,
    proportion,
    ratio_of_sums,
    two_stage_count,
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
        assert percentile_interval(independent(values), percent).value == pytest.approx(
            np.percentile(values, percent), rel=1e-12
        )


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=8))
def test_a_mean_of_rates_is_never_zero_or_less(rates: list[float]) -> None:
    estimate = mean_t_log(rates)
    assert estimate.value > 0
    assert estimate.low > 0 or len(rates) == 1
    assert estimate.low <= estimate.value <= estimate.high
    assert min(rates) * (1 - 1e-9) <= estimate.value <= max(rates) * (1 + 1e-9)


def test_the_interval_of_a_mean_rate_by_hand_and_its_coverage() -> None:
    """Three repeats of 17.8, 86.0 and 154.3 tokens/s reach -84 by the plain t interval."""
    assert mean_t([17.8, 86.0, 154.3]).low < 0 < mean_t_log([17.8, 86.0, 154.3]).low
    assert mean_t_log([2.0, 8.0]).value == pytest.approx(4.0)
    assert mean_t_log([2.0, 8.0]).high == pytest.approx(4.0 * math.exp(12.706205 * math.log(2)), rel=1e-6)
    assert (mean_t_log([0.0, 3.0]).value, mean_t_log([0.0, 3.0]).high) == (0.0, math.inf)
    generator, hits = np.random.default_rng(5), 0
    for _ in range(TRIALS):
        estimate = mean_t_log(np.exp(generator.normal(2, 0.4, 3)).tolist())
        hits += estimate.low <= math.exp(2) <= estimate.high
    assert 0.92 <= _coverage(hits) <= 0.98


def test_the_interval_of_a_share_of_a_rate_holds_it() -> None:
    """Of 200 requests so many are good; the rate is known from five repeats."""
    generator, hits = np.random.default_rng(6), 0
    for _ in range(TRIALS):
        share = proportion(int(generator.binomial(200, 0.7)), 200)
        hits += (estimate := product(share, mean_t_log(generator.lognormal(1, 0.1, 5).tolist()))).low <= 0.7 * math.e
        hits -= estimate.high < 0.7 * math.e
    assert 0.92 <= _coverage(hits) <= 0.99
    nothing = product(proportion(0, 10), mean_t_log([2.0, 2.1]))
    assert (nothing.value, nothing.low) == (0.0, 0.0)
    assert nothing.high > 0


def _by_waves(
    generator: np.random.Generator, users: int, repeats: int, of_repeat: float, of_wave: float, waves: int = 8
) -> Clustered:
    """Log-normal latencies (σ = 0.3) of which so large shares of the variance are a repeat's and a wave's."""
    of_waves = np.repeat(np.arange(repeats * waves), users)
    of_repeats = of_waves // waves
    logs = math.sqrt(of_repeat) * generator.standard_normal(repeats)[of_repeats]
    logs += math.sqrt(of_wave) * generator.standard_normal(repeats * waves)[of_waves]
    logs += math.sqrt(1 - of_repeat - of_wave) * generator.standard_normal(len(logs))
    return Clustered(np.exp(0.3 * logs), of_waves, of_repeats)


@pytest.mark.parametrize("users", [4, 16, 64])
@pytest.mark.parametrize("repeats", [2, 3, 6])
@pytest.mark.parametrize(("of_repeat", "of_wave"), [(0.0, 0.0), (0.0, 0.8), (0.2, 0.2), (0.8, 0.0)])
def test_a_percentile_is_held_where_waves_and_repeats_are_alike(
    users: int, repeats: int, of_repeat: float, of_wave: float
) -> None:
    """Requests taken as independent hold the median in 9 to 98 % of the cases, and the 99th percentile in 5 to 100 %."""
    generator, held = np.random.default_rng(7), dict.fromkeys((50, 90, 99), 0)
    for _ in range(150):
        sample = _by_waves(generator, users, repeats, of_repeat, of_wave)
        for percent in held:
            estimate = percentile_interval(sample, percent)
            held[percent] += estimate.low <= math.exp(0.3 * stats.norm.ppf(percent / 100)) <= estimate.high
            assert estimate.low <= estimate.value <= estimate.high
            assert math.isfinite(estimate.high) == (len(sample.values) >= least_count(percent))
    assert min(held.values()) >= 0.90 * 150  # 93 % less three standard errors of 150


def test_repeats_of_which_a_slow_one_has_all_high_values_leave_the_lower_end_open() -> None:
    """By the values above the percentile alone, its lower end lay above the truth in 6 of 100 samples."""
    generator = np.random.default_rng(8)
    samples = [_by_waves(generator, 64, 6, 0.8, 0.0) for _ in range(500)]
    ends = [percentile_interval(sample, 99) for sample in samples]
    truth = math.exp(0.3 * stats.norm.ppf(0.99))
    assert np.mean([estimate.low > truth for estimate in ends]) <= 0.035
    assert np.mean([estimate.low <= truth <= estimate.high for estimate in ends]) >= 0.95


def test_a_percentile_of_one_wave_or_of_too_few_values_has_no_end() -> None:
    values = np.arange(1.0, 101.0)
    alike, apart = np.zeros(100, dtype=np.int64), np.arange(100)
    one_wave = percentile_interval(Clustered(values, alike, alike), 50)
    assert (one_wave.low, one_wave.high, one_wave.count) == (-math.inf, math.inf, 1)
    assert percentile_interval(Clustered(values, apart, alike), 50).count == 100
    assert percentile_interval(Clustered(values, apart, apart // 50), 99).high == math.inf  # 368 at least
    half = percentile_interval(Clustered(np.array([1.0, 2.0]), apart[:2], apart[:2]), 50)
    assert (half.low, half.high) == (-math.inf, math.inf)


@pytest.mark.parametrize(("sigma", "target"), [(0.02, 0.02), (0.05, 0.03), (0.1, 0.05)])
def test_repeats_whose_number_their_spread_chose_hold_the_mean(sigma: float, target: float) -> None:
    """Two or more that stopped when the interval of all happened to be narrow hold 86 to 88 %."""
    generator, stopped, staged = np.random.default_rng(8), 0, 0
    for _ in range(600):
        rates = np.exp(generator.normal(2, sigma, 40)).tolist()
        series = (mean_t_log(rates[:count]) for count in range(2, 41))
        narrow = next((part for part in series if part.high <= (1 + target) * part.value), mean_t_log(rates))
        stopped += narrow.low <= math.exp(2) <= narrow.high
        estimate = mean_t_log(rates[: int(min(two_stage_count(rates[:3], target), 40))], 3)
        staged += estimate.low <= math.exp(2) <= estimate.high
        assert estimate.count == 3
    assert stopped / 600 < 0.9
    assert 0.93 <= staged / 600 <= 0.975


def test_two_stages_by_hand() -> None:
    """Logarithms with a deviation of 0.1 in three repeats: (4.3027 × 0.1 ÷ ln 1.05)² = 77.8."""
    first = np.exp([1.9, 2.0, 2.1]).tolist()
    assert two_stage_count(first, 0.05) == 78
    assert two_stage_count(first, 10.0) == 3
    assert two_stage_count([0.0, 1.0, 2.0], 0.05) == math.inf
    wide, narrow = mean_t_log(first), mean_t_log(first * 26, 3)
    assert math.log(narrow.high / narrow.value) == pytest.approx(math.log(wide.high / wide.value) / math.sqrt(26))
    assert narrow.high / narrow.value <= 1.05


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_quantiles_are_those_of_scipys_distributions(confidence: float) -> None:
    """Whose module takes half a second to import."""
    for percent in (0, 1, 50, 90, 99.9, 100):
        for count in (*range(1, 60), 1000):
            below = stats.binom(count, percent / 100)
            assert _order_places(count, percent, confidence) == (
                below.ppf((1 - confidence) / 2),
                below.ppf((1 + confidence) / 2),
            )
        for units in range(2, 30) if 50 <= percent < 100 else ():
            shift = stats.norm.ppf(percent / 100) * math.sqrt(units)
            factor = stats.nct.ppf((1 + confidence) / 2, units - 1, shift) / math.sqrt(units)
            assert _tolerance_factor(units, percent, confidence) == pytest.approx(factor, rel=1e-9)
