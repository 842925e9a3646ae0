"""Means over repeats and their ratios, drawn from Student's t distribution."""

from __future__ import annotations

import functools
import math

import numpy as np

from evals.stats.intervals import CONFIDENCE, Estimate, Floats, t_quantile

DRAWS = 2000


Generator = np.random.Generator


def mean_draws(estimate: Estimate, generator: Generator, draws: int = DRAWS) -> Floats:
    """Of a mean with a t interval of `count` values; itself where it was read, NaN where it has no interval."""
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


def rate_draws(estimate: Estimate, generator: Generator, draws: int = DRAWS) -> Floats:
    """Of a geometric mean with a t interval of the logarithms, as rates have: never below zero."""
    logs = _logs(estimate, generator.standard_t(max(estimate.count - 1, 1), draws))
    with np.errstate(over="ignore"):
        rates: Floats = np.exp(logs)
    return rates


def _logs(estimate: Estimate, drawn: Floats) -> Floats:
    """Logarithms of a positive mean from draws of Student's t; NaN where it has no interval above zero."""
    if estimate.low == estimate.high > 0:
        return np.full(len(drawn), math.log(estimate.value))
    if not 0 < estimate.low < estimate.high < math.inf:
        return np.full(len(drawn), np.nan)
    error = math.log(estimate.high / estimate.low) / 2 / t_quantile(max(estimate.count - 1, 1))
    logs: Floats = math.log(estimate.value) + error * drawn
    return logs


def ratio_of_means(estimate: Estimate, other: Estimate, confidence: float = CONFIDENCE) -> Estimate:
    """Of two positive means with t intervals of their logarithms, by draws of both; unbounded where one has none."""
    value, count = quotient(estimate.value, other.value), min(estimate.count, other.count)
    if estimate.low == estimate.value and other.low == other.value:  # read, or known to lie between two that were
        return Estimate(value, quotient(estimate.low, other.high), quotient(estimate.high, other.low), count)
    tail = (1 - confidence) / 2
    pairs = ((estimate, _standard(0, estimate.count - 1)), (other, _standard(1, other.count - 1)))
    top, bottom = (_logs(mean, drawn) for mean, drawn in pairs)
    with np.errstate(over="ignore"):
        drawn = np.exp(top - bottom)
    if np.isnan(drawn).any():
        return Estimate(value, 0.0, math.inf, count)
    # the draws nearest to both quantiles: none between two, of which one may have no bound
    ordered, last = np.sort(drawn), len(drawn) - 1
    return Estimate(value, float(ordered[round(tail * last)]), float(ordered[round((1 - tail) * last)]), count)


def quotient(first: float, other: float) -> float:
    """Of two rates; two of nothing are alike."""
    return first / other if other else math.inf if first else 1.0
