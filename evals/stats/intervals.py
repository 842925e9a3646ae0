"""Intervals and paired comparisons. All intervals are two-sided at 95 %."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special  # not `stats`: that takes half a second of every command

CONFIDENCE = 0.95
UNSEEN = 0.5  # flips or passages that are added to those seen: that none was seen does not mean there are none
RESAMPLES = 2000
Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; `count` is the number of independent samples behind it."""

    value: float
    low: float
    high: float
    count: int

    def map(self, function: Callable[[float], float]) -> Estimate:
        """The estimate under a monotone function."""
        ends = sorted((function(self.low), function(self.high)))
        return Estimate(function(self.value), ends[0], ends[1], self.count)


def exact(value: float, count: int = 1) -> Estimate:
    """A value that was read, not estimated: its interval is itself."""
    return Estimate(value, value, value, count)


def mean_t(values: Sequence[float]) -> Estimate:
    """Mean with Student's t interval (sample standard deviation, n − 1). One value has an unbounded interval."""
    data = np.asarray(values, dtype=np.float64)
    mean = float(data.mean())
    if len(data) < 2:
        return Estimate(mean, -math.inf, math.inf, len(data))
    half = t_quantile(len(data) - 1) * float(data.std(ddof=1)) / math.sqrt(len(data))
    return Estimate(mean, mean - half, mean + half, len(data))


def mean_t_log(values: Sequence[float], first: int = 0) -> Estimate:
    """Geometric mean with Student's t interval of the logarithms, for rates and other positive figures. It never
    reaches zero (Bland and Altman, Transformations, means, and confidence intervals, BMJ 312, 1996, page 1079).

    Where the spread of the `first` values chose how many there are, that spread alone makes the interval (Stein, A
    two-sample test for a linear hypothesis whose power is independent of the variance, Annals of Mathematical
    Statistics 16, 1945): the spread of all of them is too small where it ended the series. Then `count` is theirs.
    One value has no upper end. Where some value is zero, so is the mean, and nothing is known of its upper end.
    """
    data = np.asarray(values, dtype=np.float64)
    if (data <= 0).any():
        return Estimate(0.0, 0.0, math.inf, len(data))
    logs = np.log(data)
    value = math.exp(float(logs.mean()))
    if len(data) < 2:
        return Estimate(value, 0.0, math.inf, len(data))
    seen = logs[: first or len(logs)]
    half = t_quantile(len(seen) - 1) * float(seen.std(ddof=1)) / math.sqrt(len(data))
    with np.errstate(over="ignore"):
        return Estimate(value, value * float(np.exp(-half)), value * float(np.exp(half)), len(seen))


def two_stage_count(first: Sequence[float], relative: float) -> float:
    """How many values in all make the interval of their geometric mean so narrow, by the spread of the first of them:
    its upper side is at most that share of it. Infinite where some value is zero.
    """
    if min(first) <= 0:
        return math.inf
    spread = float(np.log(first).std(ddof=1))
    return max(len(first), math.ceil((t_quantile(len(first) - 1) * spread / math.log1p(relative)) ** 2))


def product(share: Estimate, rate: Estimate) -> Estimate:
    """Of two independent figures that are not negative: variances are recovered from both intervals on the logarithms
    (MOVER: Zou and Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27, 2008).
    """
    count = min(share.count, rate.count)
    if share.value <= 0 or rate.value <= 0:
        return Estimate(0.0, 0.0, share.high * rate.high, count)
    value = share.value * rate.value
    down = math.hypot(*(_log_ratio(part.value, part.low) for part in (share, rate)))
    up = math.hypot(*(_log_ratio(part.high, part.value) for part in (share, rate)))
    return Estimate(value, value * math.exp(-down), value * math.exp(up), count)


def _log_ratio(over: float, under: float) -> float:
    return math.log(over / under) if under > 0 and math.isfinite(over) else math.inf


@functools.cache
def t_quantile(freedom: int, confidence: float = CONFIDENCE) -> float:
    """Of Student's t distribution, where a two-sided interval ends."""
    return float(special.stdtrit(freedom, (1 + confidence) / 2))


def proportion(successes: float, count: int) -> Estimate:
    """Wilson's score interval of a share of independent items."""
    return replace(wilson(round(successes) / count, count), value=successes / count, count=count)


def wilson(seen: float, worth: float) -> Estimate:
    """Wilson's score interval (Wilson, JASA 22, 1927): it stays inside 0…1 and holds for small counts.

    `worth` is the number of independent items, a fraction where items depend on each other.
    """
    z = float(special.ndtri((1 + CONFIDENCE) / 2))
    middle = (seen + z * z / (2 * worth)) / (1 + z * z / worth)
    half = z / (1 + z * z / worth) * math.sqrt(seen * (1 - seen) / worth + z * z / (4 * worth * worth))
    return Estimate(seen, 0.0 if seen == 0 else middle - half, 1.0 if seen == 1 else middle + half, round(worth))


def percentiles(values: Sequence[float] | Floats, percents: Sequence[float]) -> list[float]:
    """Linear interpolation between order statistics (type 7 of Hyndman and Fan, 1996), as numpy does it, whose own
    function takes 200 µs, most of them before it looks at a value.
    """
    data = np.sort(np.asarray(values, dtype=np.float64))
    return [_interpolated(data, percent) for percent in percents]


def _interpolated(data: Floats, percent: float) -> float:
    """A percentile of what is in order already."""
    place = (len(data) - 1) * percent / 100
    before = math.floor(place)
    after = min(before + 1, len(data) - 1)
    return float(data[before] + (place - before) * (data[after] - data[before]))


@dataclass(frozen=True)
class Clustered:
    """Values with the number of each one's wave and of its repeat, counted from 0. No wave is in two repeats.

    Values of one wave share what the server did at that time, values of one repeat what it did that day.
    """

    values: Floats
    waves: Labels
    repeats: Labels


def independent(values: Sequence[float] | Floats) -> Clustered:
    """Values of which each is a wave by itself, all in one repeat."""
    data = np.asarray(values, dtype=np.float64)
    return Clustered(data, np.arange(len(data)), np.zeros(len(data), dtype=np.int64))


def percentile_interval(sample: Clustered, percent: float, confidence: float = CONFIDENCE) -> Estimate:
    """A percentile of the values of all waves and repeats to come, with an interval; `count` is the effective count.

    The ends are order statistics of so many independent values (David and Nagaraja, Order Statistics, 2003, section
    7.1) as those above the percentile are worth (Woodruff, Confidence intervals for medians, JASA 47, 1952; Korn and
    Graubard, Confidence intervals for proportions with small expected number of positive counts, Survey Methodology 24,
    1998). Of the few values above a high percentile one repeat may have most, and they do not show how repeats differ:
    the lower end is read again by those above the place halfway to it. Where there are too few values for an end, the
    repeats are the units (`_by_repeats`). An end for which even independent values would be too few (`least_count`),
    and of a single repeat, is unbounded.
    """
    data, share = np.sort(sample.values), percent / 100
    value, count = _interpolated(data, percent), len(data)
    worth = effective_count(sample.values > value, sample, share, confidence)
    by_repeats = _by_repeats(sample, percent, confidence)
    beyond = min(by_repeats.low, value)
    low = _low_end(data, worth, percent, confidence, beyond)
    above = sample.values > data[(int(np.searchsorted(data, low)) + math.floor(share * count)) // 2]
    fewer = effective_count(above, sample, 1 - float(above.mean()), confidence)
    if fewer < worth:
        low = min(low, _low_end(data, fewer, percent, confidence, beyond))
    _, high_place = _order_places(worth, percent, confidence)
    if high_place < worth:
        high = float(data[math.ceil((high_place + 1) * (count + 1) / (worth + 1)) - 1])
    else:
        high = max(by_repeats.high, value)
    return Estimate(value, low, high, worth)


def _low_end(data: Floats, worth: int, percent: float, confidence: float, beyond: float) -> float:
    """The order statistic of ordered values that are worth so many, `beyond` where that is too few."""
    place, _ = _order_places(worth, percent, confidence)
    return float(data[math.floor(place * (len(data) + 1) / (worth + 1)) - 1]) if place >= 1 else beyond


def effective_count(
    above: npt.NDArray[np.bool_], sample: Clustered, share: float, confidence: float = CONFIDENCE
) -> int:
    """How many independent values have the uncertainty of this share of them.

    The variance of the share is the largest of three: of single values, and of waves and of repeats as units, each
    with Student's t quantile of its degrees of freedom in place of the normal one.
    """
    count, variance = len(above), share * (1 - share)
    if variance == 0:
        return count
    normal = float(special.ndtri((1 + confidence) / 2))
    largest = variance / count
    rest = above - above.mean()
    for units in (sample.waves, sample.repeats):
        totals = np.bincount(units, rest)
        if 1 < len(totals) < count:
            spread = len(totals) / (len(totals) - 1) * float(totals @ totals) / count**2
            largest = max(largest, spread * (t_quantile(len(totals) - 1, confidence) / normal) ** 2)
        elif len(totals) == 1 and units is sample.waves:
            return 1
    return max(1, min(count, math.floor(variance / largest + 1e-9)))


def _by_repeats(sample: Clustered, percent: float, confidence: float) -> Estimate:
    """From the logarithms of each repeat's percentile, taken as normal: the lower end of their mean's t interval, and
    above it, as some repeats are slower than all that were seen, the tolerance limit that holds this share of repeats
    (Krishnamoorthy and Mathew, Statistical Tolerance Regions, 2009, section 2.2).

    For a percentile below the median it is the other way round. Unbounded for one repeat or too few values.
    """
    units = int(sample.repeats.max()) + 1
    each = [_interpolated(np.sort(sample.values[sample.repeats == unit]), percent) for unit in range(units)]
    if units < 2 or len(sample.values) < least_count(max(percent, 100 - percent), confidence) or min(each) <= 0:
        return Estimate(math.nan, -math.inf, math.inf, units)
    logs = np.log(each)
    centre, spread = float(logs.mean()), float(logs.std(ddof=1))
    near = t_quantile(units - 1, confidence) / math.sqrt(units)
    far = _tolerance_factor(units, max(percent, 100 - percent), confidence)
    down, up = (near, far) if percent >= 50 else (far, near)
    return Estimate(math.exp(centre), math.exp(centre - down * spread), math.exp(centre + up * spread), units)


@functools.cache
def _tolerance_factor(units: int, percent: float, confidence: float) -> float:
    """By how many standard deviations above the mean of normal units this percentile of them lies at most."""
    shift = float(special.ndtri(percent / 100)) * math.sqrt(units)
    return float(special.nctdtrit(units - 1, shift, (1 + confidence) / 2)) / math.sqrt(units)


def least_count(percent: float, confidence: float = CONFIDENCE) -> int:
    """How many values it takes for a percentile's interval to have an upper end: all n lie below it with a chance of
    (percent ÷ 100)ⁿ, which must be at most 2.5 %.
    """
    return math.ceil(math.log((1 - confidence) / 2) / math.log(percent / 100))


@functools.cache
def _order_places(count: int, percent: float, confidence: float) -> tuple[int, int]:
    """Which of so many values in order are the ends of a percentile's interval, counted from 1 and from 0."""
    return _below((1 - confidence) / 2, count, percent / 100), _below((1 + confidence) / 2, count, percent / 100)


def _below(share: float, count: int, chance: float) -> int:
    """The quantile at `share` of how many of `count` draws happen, each with this chance."""
    if chance in (0, 1):
        return round(count * chance)
    most = max(0, math.ceil(float(special.bdtrik(share, count, chance))))
    return most - 1 if most and float(special.bdtr(most - 1, count, chance)) >= share else most


def ratio_of_sums(numerators: Sequence[float], denominators: Sequence[float], *, seed: int = 0) -> Estimate:
    """Σ numerators ÷ Σ denominators, with a percentile bootstrap over the pairs (documents)."""
    top, bottom = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    value = float(top.sum() / bottom.sum())
    if len(top) < 2:
        return Estimate(value, -math.inf, math.inf, len(top))
    picks = np.random.default_rng(seed).integers(0, len(top), (RESAMPLES, len(top)))
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = percentiles(top[picks].sum(1) / bottom[picks].sum(1), (tail, 100 - tail))
    return Estimate(value, low, high, len(top))
