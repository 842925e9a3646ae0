"""Accuracy of a task: of all its items or, where an adaptive budget stopped, of some beside the baseline's of all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from evals.stats.intervals import CONFIDENCE, Estimate, Floats, macro_mean, mean_t, proportion
from evals.stats.paired_items import ACCURACY_METRICS, Items, Matched, matched
from evals.stats.stratified_estimators import added_variance, flips_of

Z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))


def accuracy_of(items: Items, reference: Items | None) -> Estimate:
    """Mean of the headline metric, of all items that the plan asks for."""
    pairs = matched(items, reference) if reference is not None and len(items.values) < items.drawn else None
    if pairs is not None and reference is not None:
        return difference_estimate(reference.values, pairs)
    return proportion(sum(items.values), len(items.values)) if items.binary else mean_t(items.values)


def difference_estimate(values: Sequence[float], pairs: Matched) -> Estimate:
    """The baseline's mean of all items, moved by the mean difference on those that both have.

    The plain mean of some items would be compared with another set's. Double sampling with a difference estimator
    (Cochran, Sampling Techniques, 1977, section 12.9), each stratum by its size; normal interval, cut to 0…1.
    """
    differences = np.subtract(pairs.candidate, pairs.baseline)
    value = float(np.mean(values) + np.average(differences, weights=pairs.weights))
    variance = _added(pairs, differences) + float(np.var(values, ddof=1)) / len(values)
    half = Z * math.sqrt(max(variance, 0.0))
    return Estimate(value, max(value - half, 0.0), min(value + half, 1.0), len(differences))


def _added(pairs: Matched, differences: Floats) -> float:
    """The variance that comes from the items that were not asked."""
    if len(pairs.sizes) > 1:
        return added_variance(flips_of(pairs))
    return float(np.var(differences, ddof=1)) * (1 / len(differences) - 1 / pairs.drawn)


def mean_accuracy(items: Mapping[str, Items], references: Mapping[str, Items]) -> Estimate | None:
    """Over the tasks that have an accuracy, each counting the same."""
    tasks = [task for task in items.values() if task.metric in ACCURACY_METRICS]
    if not tasks:
        return None
    if all(len(task.values) == task.drawn for task in tasks):
        return macro_mean([task.values for task in tasks])
    estimates = [accuracy_of(task, references.get(task.task)) for task in tasks]
    value = float(np.mean([estimate.value for estimate in estimates]))
    half = math.sqrt(sum(((estimate.high - estimate.low) / 2) ** 2 for estimate in estimates)) / len(estimates)
    return Estimate(
        value, max(value - half, 0.0), min(value + half, 1.0), sum(estimate.count for estimate in estimates)
    )
