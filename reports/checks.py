"""Why a cell's figures must not be trusted: each reason keeps it off the frontier and out of the answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import stats

from evals.items import Items, matched, task_items
from evals.paired import ALPHA, compare, margin_of
from evals.record import Trial
from reports.closeness import Distance

SAME_TOP_AT_LEAST = 0.5


def distrust(trial: Trial, baseline: Trial | None, distances: Sequence[Distance] = ()) -> list[str]:
    """All reasons, each a sentence; none for a cell that may be believed."""
    reasons = [f"gate '{gate.name}': {gate.detail}" for gate in trial.gates if not gate.passed]
    reasons += _empty(trial)
    if baseline is not None and baseline is not trial:
        reasons += [*_other_items(trial, baseline), *_at_chance(trial, baseline)]
    reasons += [
        f"it predicts the baseline's token at {one.same_top:.0%} of the positions of {one.text} alone "
        f"(at least {SAME_TOP_AT_LEAST:.0%} are wanted)"
        for one in distances
        if one.key == trial.key and one.kind == "quantization" and _is_below(one.same_top)
    ]
    return reasons


def _is_below(same_top: float | None) -> bool:
    return same_top is not None and same_top < SAME_TOP_AT_LEAST


def _empty(trial: Trial) -> Iterator[str]:
    for score in trial.scores:
        if 0 < score.empty_contexts < len(score.item_keys):
            yield f"{score.empty_contexts} of {len(score.item_keys)} items of {score.task} ask about nothing"


def _other_items(trial: Trial, baseline: Trial) -> Iterator[str]:
    ours, theirs = task_items(trial.scores), task_items(baseline.scores)
    for task in sorted(ours.keys() | theirs.keys()):
        if task not in ours or task not in theirs or matched(ours[task], theirs[task]) is None:
            yield f"its items of {task} are not those of its baseline"


def _at_chance(trial: Trial, baseline: Trial) -> Iterator[str]:
    """A task on which the baseline knows something, the cell nothing, and the difference is no chance itself."""
    theirs = task_items(baseline.scores)
    for task, ours in task_items(trial.scores).items():
        reference = matched(ours, theirs[task]) if task in theirs else None
        if reference is None or above_chance(ours) is not False or above_chance(theirs[task]) is not True:
            continue
        paired = compare(reference, ours.values, margin=margin_of(theirs[task].values, 0.01), clusters=ours.clusters)
        if paired.p_different <= ALPHA and paired.difference.value < 0:
            yield f"its accuracy on {task}, {np.mean(ours.values):.1%}, is that of guessing ({_chance(ours):.1%})"


def _chance(items: Items) -> float:
    return float(np.mean([1 / choices for choices in items.choices if choices]))


def above_chance(items: Items) -> bool | None:
    """Whether more items are right than guessing explains, at 5 % one-sided; None where nothing can be guessed."""
    if not items.binary or not items.choices or min(items.choices) < 2:
        return None
    p = stats.binomtest(round(sum(items.values)), len(items.values), _chance(items), alternative="greater").pvalue
    return bool(p <= ALPHA)
