"""Accuracy of a task: of all its items or, where an adaptive budget stopped, of some beside the baseline's of all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy import special

from evals.schema.trial import Trial
from evals.stats.combined_intervals import mean_of, recovery_of
from evals.stats.group_sequential import compare_asked, confidence_at
from evals.stats.intervals import CONFIDENCE, UNSEEN, Estimate, Floats, exact
from evals.stats.paired_items import Items, Matched, matched, trial_items
from evals.stats.paired_tests import margin_of
from evals.stats.passages import mean_estimate, variance_of_mean
from evals.stats.stratified_estimators import added_variance, flips_of

Z = float(special.ndtri((1 + CONFIDENCE) / 2))


def accuracy_of(items: Items, reference: Items | None) -> Estimate:
    """Mean of the headline metric, of all items that the plan asks for."""
    pairs = matched(items, reference) if reference is not None and len(items.values) < items.drawn else None
    if pairs is not None and reference is not None:
        return difference_estimate(reference, pairs)
    return mean_estimate(items.values, items.clusters)


def difference_estimate(baseline: Items, pairs: Matched) -> Estimate:
    """The baseline's mean of all items, moved by the mean difference on those that both have.

    The plain mean of some items would be compared with another set's. Double sampling with a difference estimator
    (Cochran, Sampling Techniques, 1977, section 12.9), each stratum by its size; normal interval, cut to 0…1.
    """
    differences = np.subtract(pairs.candidate, pairs.baseline)
    value = float(np.mean(baseline.values) + np.average(differences, weights=pairs.weights))
    variance = _added(pairs, differences) + variance_of_mean(baseline.values, baseline.clusters)
    half = Z * math.sqrt(max(variance, 0.0))
    return Estimate(value, max(value - half, 0.0), min(value + half, 1.0), len(differences))


def _added(pairs: Matched, differences: Floats) -> float:
    """The variance that comes from the items that were not asked."""
    if len(pairs.sizes) > 1:
        return added_variance(flips_of(pairs))
    asked = len(differences)
    least = UNSEEN / (asked + 1) / asked if {*differences.tolist()} <= {0.0} else 0.0
    return max(variance_of_mean(differences, pairs.clusters), least) * (1 - asked / pairs.drawn)


def task_shots(trials: Iterable[Trial]) -> dict[str, str]:
    """Of each task, the few-shot examples before its questions: `5-shot`, or a range where leaves or cells differ."""
    counts: dict[str, set[int]] = {}
    for trial in trials:
        for score in trial.scores:
            counts.setdefault(score.group, set()).add(score.num_fewshot)
    return {
        task: f"{min(numbers)}-shot" if len(numbers) == 1 else f"{min(numbers)}- to {max(numbers)}-shot"
        for task, numbers in counts.items()
    }


def mean_accuracy(items: Mapping[str, Items], references: Mapping[str, Items]) -> Estimate | None:
    """Over the tasks that have an accuracy, each counting the same."""
    tasks = [task for task in items.values() if task.is_accuracy]
    if not tasks:
        return None
    mean = mean_of([accuracy_of(task, references.get(task.task)) for task in tasks])
    return replace(mean, low=max(mean.low, 0.0), high=min(mean.high, 1.0))


def recovery(trial: Trial, baseline: Trial) -> Estimate | None:
    """Mean accuracy ÷ the baseline's on the same items; None where one task has others than the baseline, and where the
    baseline may have nothing right: there is nothing to divide by.

    Each task's paired difference has Tango's score interval, or that of whole passages or sampled strata
    (`evals.stats.group_sequential.compare_asked`), so that no flip among few items leaves as much open as it does.
    Where a budget looked several times, the intervals are wide enough for all looks.
    """
    pairs = _same_items(trial, baseline)
    if not pairs:
        return None
    if trial is baseline:
        return exact(1.0, sum(len(pair.candidate) for _, pair in pairs))
    if _nothing_right(pairs):
        return None
    adaptive = is_adaptive(trial)
    compared = []
    for base, pair in pairs:
        asked = len(pair.candidate)
        confidence = confidence_at(asked, pair.drawn) if adaptive else CONFIDENCE
        difference = compare_asked(pair, margin_of(base.values, 0.01), confidence).difference
        compared.append(replace(difference, count=asked))
    differences = mean_of(compared)
    bases = mean_of([mean_estimate(base.values, base.clusters) for base, _ in pairs])
    return recovery_of(differences, bases, _correlation([pair for _, pair in pairs]))


def nothing_right(trial: Trial, baseline: Trial) -> bool:
    """True where so many resamples hold nothing that the baseline has right that a ratio has no upper end."""
    return _nothing_right(_same_items(trial, baseline))


def _nothing_right(pairs: Sequence[tuple[Items, Matched]]) -> bool:
    values = [pair.baseline for _, pair in pairs]
    without = [(sum(value <= 0 for value in task) / len(task)) ** len(task) for task in values]
    return bool(values) and math.prod(without) > (1 - CONFIDENCE) / 2


def _same_items(trial: Trial, baseline: Trial) -> list[tuple[Items, Matched]]:
    """The baseline's items of each accuracy task beside the pairs; none where one task has others than the baseline."""
    ours = [items for items in trial_items(trial).values() if items.is_accuracy]
    theirs = trial_items(baseline)
    pairs = [(theirs[items.task], matched(items, theirs[items.task])) for items in ours if items.task in theirs]
    same = [(base, pair) for base, pair in pairs if pair is not None]
    return same if len(same) == len(ours) else []


def _correlation(tasks: Sequence[Matched]) -> float:
    """Of the macro means of difference and baseline, from the items; 0 where nothing flipped."""
    moments = np.zeros((2, 2))
    for pairs in tasks:
        columns = np.stack([np.subtract(pairs.candidate, pairs.baseline), np.asarray(pairs.baseline)])
        moments += np.cov(columns, aweights=np.asarray(pairs.weights), ddof=0) / columns.shape[1]
    scale = math.sqrt(moments[0, 0] * moments[1, 1])
    return float(moments[0, 1]) / scale if scale else 0.0


def is_adaptive(trial: Trial) -> bool:
    """True where the cell's budget could stop before all items."""
    settings: Mapping[str, object] = trial.provenance.get("accuracy") or {}
    return settings.get("budget") == "adaptive"
