"""Why a cell's figures must not be trusted: each reason keeps it off the frontier and out of the answer;
and what doubts a whole run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import special

from evals.schema.trial import Trial
from evals.stats.group_sequential import compare_asked
from evals.stats.paired_items import Items, Matched, matched, trial_items
from evals.stats.paired_tests import ALPHA, margin_of
from reports.decision.cell_names import mixed_compute_types
from reports.metrics.cell import CellMetrics
from reports.metrics.divergence import Distance
from reports.sections.origins import kept_stale, mixed_origins

SAME_TOP_AT_LEAST = 0.5
LabelledTexts = tuple[str, tuple[str, ...]]


def usable(trial: Trial) -> Trial:
    """The trial, or a failed one where its samples are not those of a measurement: requests that failed, what is no
    number. No figure is made of them.
    """
    reasons = [*_failed_requests(trial), *_no_numbers(trial)] if trial.status == "ok" else []
    return replace(trial, status="failed", reason="; ".join(reasons)) if reasons else trial


def _failed_requests(trial: Trial) -> Iterator[str]:
    searched = [speed for search in trial.searches for speed in (*search.probes, *search.confirmed)]
    for speed in (*trial.speed, *searched):
        requests = [request for repeat in speed.repeats for request in repeat]
        bad = [request for request in requests if request.error is not None or not request.chunks]
        if bad:
            cause = bad[0].error or "no token came"
            yield f"{len(bad)} of {len(requests)} requests failed at {speed.load.label}: {cause}"


def _no_numbers(trial: Trial) -> Iterator[str]:
    for score in trial.scores:
        if not math.isfinite(sum(map(sum, (*score.values, *score.loglikelihoods)))):
            yield f"what was read for {score.task} contains a value that is not a number"
    for perplexity in trial.perplexities:
        if not math.isfinite(sum(map(sum, perplexity.tokens))):
            yield f"the log-probabilities of wikitext2 ({perplexity.convention}) contain a value that is not a number"


def distrust(trial: Trial, baseline: Trial | None, distances: Sequence[Distance] = ()) -> list[str]:
    """All reasons, each a sentence; none for a cell that may be believed."""
    reasons = [f"gate '{gate.name}': {gate.detail}" for gate in trial.gates if not gate.passed]
    reasons += [
        f"{score.empty_contexts} of {len(score.item_keys)} items of {score.task} ask about nothing"
        for score in trial.scores
        if 0 < score.empty_contexts < len(score.item_keys)
    ]
    if baseline is not None and baseline is not trial:
        ours, theirs = trial_items(trial), trial_items(baseline)
        reasons += [
            f"its items of {task} are not those of its baseline"
            for task in sorted(ours.keys() | theirs.keys())
            if task not in ours or task not in theirs or matched(ours[task], theirs[task]) is None
        ]
        reasons += _at_chance(trial, baseline)
    reasons += [
        f"it predicts the baseline's token at {100 * distance.same_top:.0f} % of the positions of {distance.text} "
        f"alone (at least {100 * SAME_TOP_AT_LEAST:.0f} % are needed)"
        for distance in distances
        if distance.key == trial.key
        and distance.kind == "quantization"
        and distance.same_top is not None
        and distance.same_top < SAME_TOP_AT_LEAST
    ]
    return reasons


def run_warnings(
    trials: Sequence[Trial], cells: Sequence[CellMetrics], about: Mapping[str, Any]
) -> tuple[LabelledTexts, ...]:
    """What doubts all comparisons of a run, by labels of a few words."""
    baselines = {cell.trial.server: cell.trial for cell in cells if cell.is_baseline}
    shown = {
        "Mixed origins": (*mixed_origins(trials),),
        "Compute types": (*mixed_compute_types([cell.trial for cell in cells], baselines),),
        "Plan": (*about.get("warnings", ()),),
        "Stale": kept_stale(about),
    }
    return tuple((label, texts) for label, texts in shown.items() if texts)


def _at_chance(trial: Trial, baseline: Trial) -> Iterator[str]:
    """A task on which the baseline knows something, the cell nothing, and the difference is no chance itself."""
    theirs = trial_items(baseline)
    for task, ours in trial_items(trial).items():
        pairs = matched(ours, theirs[task]) if task in theirs else None
        if pairs is None or not _guesses(ours, pairs, theirs[task].values):
            continue
        paired = compare_asked(pairs, margin_of(theirs[task].values, 0.01))
        if paired.p_different <= ALPHA and paired.difference.value < 0:
            right = np.average(pairs.candidate, weights=pairs.weights)
            yield f"its accuracy on {task}, {100 * right:.1f} %, is that of guessing ({100 * _chance(ours):.1f} %)"


def _guesses(ours: Items, pairs: Matched, theirs: Sequence[float]) -> bool:
    """True where the baseline's answers are better than guesses, and the cell's are not."""
    if not ours.binary or not ours.choices or min(ours.choices) < 2:
        return False  # nothing can be guessed
    chance = _chance(ours)
    return above_chance(theirs, (1.0,) * len(theirs), chance) and not above_chance(
        pairs.candidate, pairs.weights, chance
    )


def _chance(items: Items) -> float:
    return float(np.mean([1 / choices for choices in items.choices if choices]))


def above_chance(values: Sequence[float], weights: Sequence[float], chance: float) -> bool:
    """Whether more items are right than guessing explains, at 5 % one-sided; items that stand for more than others
    are worth fewer (Kish, Survey Sampling, 1965: the squared sum of weights ÷ the sum of their squares).
    """
    worth = round(sum(weights) ** 2 / sum(weight * weight for weight in weights))
    right = round(worth * float(np.average(values, weights=weights)))
    return bool(special.bdtrc(right - 1, worth, chance) <= ALPHA) if right else False  # P(at least so many)
