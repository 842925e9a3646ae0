"""Intervals and paired comparisons. All intervals are two-sided at 95 %."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

CONFIDENCE = 0.95
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
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(data) - 1)) * float(data.std(ddof=1)) / math.sqrt(len(data))
    return Estimate(mean, mean - half, mean + half, len(data))


def proportion(successes: float, count: int) -> Estimate:
    """Wilson's score interval (Wilson, JASA 22, 1927): it stays inside 0…1 and holds for small counts."""
    result = stats.binomtest(round(successes), count).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(successes / count, float(result.low), float(result.high), count)


def percentile(values: Sequence[float], percent: float) -> float:
    """Linear interpolation between order statistics (numpy's default, type 7 of Hyndman and Fan, 1996)."""
    return float(np.percentile(np.asarray(values, dtype=np.float64), percent))


def percentile_interval(values: Sequence[float], percent: float) -> Estimate:
    """A percentile with the interval between two order statistics (David and Nagaraja, Order Statistics, 2003, section
    7.1): no distribution is assumed. An end for which there are too few values is unbounded.
    """
    data = np.sort(np.asarray(values, dtype=np.float64))
    below = stats.binom(len(data), percent / 100)
    low, high = (int(below.ppf(tail)) for tail in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Estimate(
        percentile(values, percent),
        float(data[low - 1]) if low >= 1 else -math.inf,
        float(data[high]) if high < len(data) else math.inf,
        len(data),
    )


def ratio_of_sums(numerators: Sequence[float], denominators: Sequence[float], *, seed: int = 0) -> Estimate:
    """Σ numerators ÷ Σ denominators, with a percentile bootstrap over the pairs (documents)."""
    top, bottom = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    value = float(top.sum() / bottom.sum())
    if len(top) < 2:
        return Estimate(value, -math.inf, math.inf, len(top))
    picks = np.random.default_rng(seed).integers(0, len(top), (RESAMPLES, len(top)))
    return _bootstrap(value, top[picks].sum(1) / bottom[picks].sum(1), len(top))


def macro_mean(groups: Sequence[Sequence[float]], *, seed: int = 0) -> Estimate:
    """Mean of the groups' means (every task counts the same), bootstrapped over items within each group."""
    generator = np.random.default_rng(seed)
    samples = np.mean([_resampled_means(_column(group), generator) for group in groups], axis=0)
    value = float(np.mean([np.mean(group) for group in groups]))
    return _bootstrap(value, samples, sum(len(group) for group in groups))


def macro_recovery(
    tasks: Sequence[tuple[Sequence[float], Sequence[float], Sequence[float]]], *, seed: int = 0
) -> Estimate:
    """Macro mean of a cell ÷ that of its baseline; `tasks` are (cell, baseline, weight) of each one's items.

    A paired percentile bootstrap: the same items are drawn for both sides (Efron and Tibshirani, 1993, chapter 8).
    """
    generator = np.random.default_rng(seed)
    drawn, seen = [], []
    for cell, baseline, weights in tasks:
        columns = np.stack([_column(cell), _column(baseline), np.ones(len(cell))]) * _column(weights)
        picks = generator.integers(0, columns.shape[1], (RESAMPLES, columns.shape[1]))
        sums = columns[:, picks].sum(axis=2)
        drawn.append(sums[:2] / sums[2])
        seen.append(columns[:2].sum(axis=1) / columns[2].sum())
    (top, bottom), (ours, theirs) = np.mean(drawn, axis=0), np.mean(seen, axis=0)
    return _bootstrap(float(ours / theirs), top / np.maximum(bottom, 1e-12), sum(len(cell) for cell, _, _ in tasks))


def _column(values: Sequence[float]) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _resampled_means(values: Floats, generator: np.random.Generator) -> Floats:
    picks = generator.integers(0, len(values), (RESAMPLES, len(values)))
    means: Floats = values[picks].mean(axis=1)
    return means


def _bootstrap(value: float, samples: Floats, count: int) -> Estimate:
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(samples, [tail, 100 - tail])
    return Estimate(value, float(low), float(high), count)
