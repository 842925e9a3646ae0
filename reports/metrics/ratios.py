"""Means over repeats and their ratios, drawn from Student's t distribution."""

from __future__ import annotations

import functools
import math

import numpy as np

from evals.stats.intervals import CONFIDENCE, Estimate, Floats, t_quantile

DRAWS = 2000


Generator = np.random.Generator


def mean_draws(estimate: Estimate, generator: Generator, draws: int = DRAWS) -> Floats:
    """Of a mean with a t interval of `one.count` values; itself where it was read, NaN where it has no interval."""
    return _means(estimate, generator.standard_t(max(estimate.count - 1, 1), draws))


def _means(estimate: Estimate, drawn: Floats) -> Floats:
    """From draws of Student's t."""
    if estimate.low == estimate.high:
        return np.full(len(drawn), estimate.value)
    if not math.isfinite(estimate.high - estimate.low):
        return np.full(len(drawn), np.nan)
    error = (estimate.high - estimate.low) / 2 / t_quantile(estimate.count - 1)
    means: Floats = estimate.value + error * drawn
    return means


@functools.cache
def _standard(seed: int, freedom: int) -> Floats:
    """The same draws of Student's t for all ratios."""
    return np.random.default_rng(seed).standard_t(max(freedom, 1), DRAWS)


def ratio_of_means(estimate: Estimate, other: Estimate) -> Estimate:
    """Of two means with t intervals, by draws of both; unbounded where one has none."""
    tail = (1 - CONFIDENCE) / 2
    pairs = ((estimate, _standard(0, estimate.count - 1)), (other, _standard(1, other.count - 1)))
    top, bottom = (np.maximum(_means(mean, drawn), 0.0) for mean, drawn in pairs)  # no rate is below zero
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.where((top == 0) & (bottom == 0), 1.0, top / bottom)
    low, high = (0.0, math.inf) if np.isnan(drawn).any() else _ends(drawn, tail)
    return Estimate(quotient(estimate.value, other.value), low, high, min(estimate.count, other.count))


def _ends(drawn: Floats, tail: float) -> tuple[float, float]:
    """The draws nearest to both quantiles: none between two, of which one may have no bound."""
    ordered, last = np.sort(drawn), len(drawn) - 1
    return float(ordered[round(tail * last)]), float(ordered[round((1 - tail) * last)])


def quotient(first: float, other: float) -> float:
    """Of two rates; two of nothing are alike."""
    return first / other if other else math.inf if first else 1.0
