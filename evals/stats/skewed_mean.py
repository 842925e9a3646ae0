"""The mean of a few values that cannot be negative, some much larger than the rest: divergences of prompts.

Student's interval is too short on the side of the long tail: of 5 to 20 log-normal values it holds 80.6 to 93.0 %
where 95 are promised.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from evals.stats.intervals import CONFIDENCE, Estimate, Floats

RESAMPLES = 4000
TAIL = (1 - CONFIDENCE) / 2
LEAST = 0.01  # of the sample's standard error: what a resample of one value repeated has


def skewed_mean(values: Sequence[float]) -> Estimate:
    """The wider of two intervals above, the narrower of two below.

    The studentized bootstrap (Efron and Tibshirani, 1993, section 12.5) and Student's t, both of the mean's logarithm,
    which keeps the interval above 0: below, either misses rarely enough (simulated: the narrower in 0.5 to 2.3 of 100);
    above, both are wanted, and the generalized confidence interval of a log-normal mean (Krishnamoorthy and Mathew,
    Journal of Statistical Planning and Inference 115, 2003), which is exact where values are log-normal and knows of a
    tail that a few values do not show. A single value has no upper end. Where some value is 0, the first two stand
    alone; where all are, they are read as exactly nothing.
    """
    data = np.asarray(values, dtype=np.float64)
    mean, count = math.fsum(values) / len(data), len(data)
    if count < 2:
        return Estimate(mean, 0.0, math.inf, count)
    if mean <= 0 or float(np.ptp(data)) == 0:
        return Estimate(mean, mean, mean, count)
    low, high = _by_bootstrap(data, mean)
    return Estimate(mean, low, max(high, _log_normal_end(np.log(data))) if (data > 0).all() else high, count)


def _by_bootstrap(data: Floats, mean: float) -> tuple[float, float]:
    count = len(data)
    error = float(data.std(ddof=1)) / math.sqrt(count) / mean
    samples = data[_picks(count)]
    means = samples.mean(axis=1)
    errors = samples.std(axis=1, ddof=1) / math.sqrt(count)
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.log(means / mean) / np.maximum(errors / means, LEAST * error)
    low, high = np.quantile(np.nan_to_num(scores, nan=-math.inf), [TAIL, 1 - TAIL], method="nearest")
    student = -float(special.stdtrit(count - 1, TAIL))
    # a resample of zeros alone has no bound below; the sample's own has one
    return mean * math.exp(-min(float(high), student) * error), mean * _power(max(-float(low), student) * error)


def _log_normal_end(logs: Floats) -> float:
    """The upper end of exp(μ + σ² ÷ 2), of draws of both from their fiducial distribution."""
    normal, chi = _pivots(len(logs))
    variance = float(logs.var(ddof=1)) * (len(logs) - 1) / chi
    drawn = float(logs.mean()) - normal * np.sqrt(variance / len(logs)) + variance / 2
    return _power(float(np.quantile(drawn, 1 - TAIL)))


def _power(exponent: float) -> float:
    return math.exp(exponent) if exponent < 700 else math.inf


@functools.lru_cache(maxsize=8)
def _picks(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.random.default_rng(0).integers(0, count, (RESAMPLES, count))


@functools.lru_cache(maxsize=8)
def _pivots(count: int) -> tuple[Floats, Floats]:
    generator = np.random.default_rng(1)
    return generator.standard_normal(RESAMPLES), generator.chisquare(count - 1, RESAMPLES)
