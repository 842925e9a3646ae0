"""Intervals and paired comparisons. All intervals are two-sided at 95 %."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special, stats

CONFIDENCE = 0.95
UNSEEN = 0.5  # flips or passages that are added to those seen: that none was seen does not mean there are none
RESAMPLES = 2000
Floats = npt.NDArray[np.float64]


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


def mean_t_log(values: Sequence[float]) -> Estimate:
    """Geometric mean with Student's t interval of the logarithms, for rates and other positive figures. It never
    reaches zero (Bland and Altman, Transformations, means, and confidence intervals, BMJ 312, 1996, page 1079).

    One value has no upper end. Where some value is zero, so is the mean, and nothing is known of its upper end.
    """
    data = np.asarray(values, dtype=np.float64)
    if (data <= 0).any():
        return Estimate(0.0, 0.0, math.inf, len(data))
    logs = np.log(data)
    value = math.exp(float(logs.mean()))
    if len(data) < 2:
        return Estimate(value, 0.0, math.inf, len(data))
    half = t_quantile(len(data) - 1) * float(logs.std(ddof=1)) / math.sqrt(len(data))
    return Estimate(value, value * math.exp(-half), value * math.exp(half), len(data))


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
def t_quantile(freedom: int) -> float:
    """Of Student's t distribution, where a two-sided interval ends."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))


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


def percentile_interval(values: Sequence[float] | Floats, percent: float) -> Estimate:
    """A percentile with the interval between two order statistics (David and Nagaraja, Order Statistics, 2003, section
    7.1): no distribution is assumed. An end for which there are too few values is unbounded.
    """
    data = np.sort(np.asarray(values, dtype=np.float64))
    low, high = _order_places(len(data), percent)
    return Estimate(
        _interpolated(data, percent),
        float(data[low - 1]) if low >= 1 else -math.inf,
        float(data[high]) if high < len(data) else math.inf,
        len(data),
    )


def least_count(percent: float) -> int:
    """How many values it takes for a percentile's interval to have an upper end: all n lie below it with a chance of
    (percent ÷ 100)ⁿ, which must be at most 2.5 %.
    """
    return math.ceil(math.log((1 - CONFIDENCE) / 2) / math.log(percent / 100))


@functools.cache
def _order_places(count: int, percent: float) -> tuple[int, int]:
    """Which of so many values in order are the ends of a percentile's interval, counted from 1 and from 0."""
    below = stats.binom(count, percent / 100)
    return int(below.ppf((1 - CONFIDENCE) / 2)), int(below.ppf((1 + CONFIDENCE) / 2))


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
