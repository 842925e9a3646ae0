"""Means of items of which some share a passage, and with it their luck: the passages are what was sampled.

Questions on one passage are right or wrong together more often than by chance; an interval that takes each for an
independent one is too narrow (Miller, "Adding error bars to evals", arXiv 2411.00640, 2024).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import special

from evals.stats.intervals import CONFIDENCE, UNSEEN, Estimate, Floats, mean_t, wilson
from evals.stats.stratification import Ints

AWAY = 0.25  # the square by which each item of an unseen passage, wholly right or wrong, is off a mean of one half


def mean_estimate(values: Sequence[float], clusters: Sequence[str]) -> Estimate:
    """Wilson's interval of as many independent items as these are worth where they are right or wrong, else Student's t
    over passages. `clusters` names each item's passage, empty for its own.
    """
    data, passages = np.asarray(values, dtype=np.float64), _passages(clusters)
    if {*values} <= {0.0, 1.0}:
        estimate = wilson(float(data.mean()), worth(data, passages))
        return replace(estimate, count=len(data))
    if passages is None:
        return mean_t(values)
    degrees = int(passages.max())
    if not degrees:
        return Estimate(float(data.mean()), -math.inf, math.inf, len(data))
    half = -float(special.stdtrit(degrees, (1 - CONFIDENCE) / 2)) * math.sqrt(variance_of_mean(data, clusters))
    return Estimate(float(data.mean()), float(data.mean()) - half, float(data.mean()) + half, len(data))


def worth(right: Floats, passages: Ints | None) -> float:
    """How many independent items would say as much of the share that is right.

    Student's t of passages takes the place of the normal distribution (Korn and Graubard, Survey Methodology 24, 1998).
    """
    if passages is None:
        return float(len(right))
    count = int(passages.max()) + 1
    if count < 2:
        return 1.0
    tail = (1 - CONFIDENCE) / 2
    t_of_normal = float(special.ndtri(tail) / special.stdtrit(count - 1, tail))
    return len(right) / design_effect(right, passages) * t_of_normal**2


def design_effect(right: Floats, passages: Ints) -> float:
    """The variance of passages' sums ÷ that of independent items, at least 1 (Kish, Survey Sampling, 1965); half a
    passage that is wholly off is added to both, so that a share of 0 or 1 counts passages. There are two passages at
    least.
    """
    off, count = right - right.mean(), int(passages.max()) + 1
    sums, sizes = np.bincount(passages, off), np.bincount(passages)
    typical = float(sizes @ sizes) / len(right)
    together = float(sums @ sums) * count / (count - 1) + UNSEEN * AWAY * typical * typical
    return max(together / (float(off @ off) + UNSEEN * AWAY * typical), 1.0)


def variance_of_mean(values: Sequence[float] | Floats, clusters: Sequence[str]) -> float:
    """Linearised over passages (Cochran, Sampling Techniques, 1977, chapter 6); infinite where there is only one."""
    data, passages = np.asarray(values, dtype=np.float64), _passages(clusters)
    sums = data - data.mean() if passages is None else np.bincount(passages, data - data.mean())
    if len(sums) < 2:
        return math.inf
    return float(sums @ sums) * len(sums) / (len(sums) - 1) / len(data) ** 2


def _passages(clusters: Sequence[str]) -> Ints | None:
    """Each item's passage by number; None where no two items share one."""
    named = [cluster for cluster in clusters if cluster]
    if len({*named}) == len(named):
        return None
    names = [cluster or f"alone {number}" for number, cluster in enumerate(clusters)]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)
