"""What users get against the model's reference, on the same items and tokens: each cell directly, and each engine's
unquantized model, which is what the engine itself loses.

The reference is the model's baseline in `transformers` where the run has one that may be trusted, else the baseline
with the highest accuracy. Where several are in that engine, or as accurate, the plan's first one counts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evals.schema.trial import Server, Trial
from evals.stats.intervals import Estimate, exact, product
from evals.stats.paired_items import trial_items
from reports.metrics.cell import CellMetrics, Quality, quality_against, same_text, token_differences
from reports.metrics.engine_drift import compare

REFERENCE_ENGINE = "transformers"
SAME_NATS = 0.02  # mean |Δ log-likelihood|: engines' arithmetic differs by less, four bits by fifty times as much


@dataclass(frozen=True)
class EngineLoss:
    """`engine`'s own baseline against `reference`. `same_answers`: no answer differs and log-likelihoods hardly do, so
    that no accuracy was lost, however few the items are; `same_tokens`: those of a text's tokens hardly differ.
    """

    engine: str
    reference: str
    recovery: Estimate | None
    perplexity_ratio: Estimate | None
    same_answers: bool
    same_tokens: bool

    @property
    def is_known(self) -> bool:
        """Whether there are items or tokens that both scored."""
        return self.same_answers or self.recovery is not None or self.perplexity_ratio is not None


@dataclass(frozen=True)
class AgainstReference:
    """A cell of another server than the `reference` against it: what quantization and engine lose together."""

    reference: str
    quality: Quality


def references(baselines: Collection[CellMetrics]) -> dict[str, CellMetrics]:
    """By model, the baseline that all engines are held against; `baselines` in the plan's order."""
    chosen: dict[str, CellMetrics] = {}
    for cell in baselines:
        best = chosen.get(cell.trial.model)
        if best is None or _rank(cell) > _rank(best):
            chosen[cell.trial.model] = cell
    return chosen


def _rank(cell: CellMetrics) -> tuple[bool, bool, float]:
    is_scored = cell.accuracy is not None or bool(cell.trial.perplexities)
    is_first_choice = is_scored and cell.trial.engine == REFERENCE_ENGINE
    # of several in the reference engine the first one counts, so that their accuracy is no matter
    accuracy = cell.accuracy.value if cell.accuracy and not is_first_choice else 0.0
    return is_first_choice, is_scored, accuracy


def engine_losses(cells: Sequence[CellMetrics], doubts: Mapping[str, Sequence[str]]) -> dict[Server, EngineLoss]:
    """Of every engine with a baseline, but the reference's own; nothing where no baseline of the model was scored."""
    baselines = [cell for cell in cells if cell.is_baseline]
    chosen = references([cell for cell in baselines if not doubts[cell.trial.key]])
    losses = {}
    for cell in baselines:
        reference = chosen.get(cell.trial.model)
        if reference is not None and reference is not cell and _rank(reference)[1]:
            losses[cell.trial.server] = _loss(cell.trial, reference.trial)
    return losses


def against_reference(cells: Sequence[CellMetrics], doubts: Mapping[str, Sequence[str]]) -> dict[str, AgainstReference]:
    """By the trial's key, of all but baselines. None of a cell beside the reference, whose baseline that is; of one
    that has a figure against its own baseline and none against the reference; and of one that an adaptive budget asked
    some items alone and whose own baseline is not there.
    """
    chosen = references([cell for cell in cells if cell.is_baseline and not doubts[cell.trial.key]])
    pairs = {}
    for cell in cells:
        reference = chosen.get(cell.trial.model)
        if reference is None or cell.is_baseline or cell.baseline is reference.trial:
            continue
        quality = _quality_against_reference(cell, reference.trial)
        if quality is None:
            continue
        needed = ((cell.recovery, quality.recovery), (cell.perplexity_ratio, quality.perplexity_ratio))
        lacks = any(own is not None and direct is None for own, direct in needed)
        if not lacks and (quality.recovery or quality.perplexity_ratio or quality.nothing_recovered):
            pairs[cell.trial.key] = AgainstReference(reference.trial.name, quality)
    return pairs


def _quality_against_reference(cell: CellMetrics, reference: Trial) -> Quality | None:
    """Where an adaptive budget asked some items alone, drawn by how decided the cell's own baseline was, accuracy is
    what that baseline recovers of the reference × what the cell recovers of it. Both have the baseline's chance in
    them, with opposite signs, so that their product's interval, as if they were independent, is none too narrow.
    Without that baseline nothing is known of such items: None.
    """
    quality = quality_against(cell.trial, reference)
    if all(len(items.values) >= items.drawn for items in trial_items(cell.trial).values()):
        return quality
    if cell.baseline is None:
        return None
    loss = _loss(cell.baseline, reference)
    engine = exact(1.0) if loss.same_answers else loss.recovery
    recovery = product(engine, cell.recovery) if engine and cell.recovery else None
    return Quality(recovery, quality.perplexity_ratio, cell.nothing_recovered)


def _loss(trial: Trial, reference: Trial) -> EngineLoss:
    paired = quality_against(trial, reference)
    drift = compare(trial, reference)
    same = drift.items > 0 and drift.changed == 0 and (drift.mean_nats or 0.0) <= SAME_NATS
    texts = [pair for pair in zip(trial.perplexities, reference.perplexities, strict=False) if same_text(*pair)]
    same_tokens = bool(texts) and bool(np.mean(np.abs(token_differences(*texts[0]))) <= SAME_NATS)
    return EngineLoss(trial.served_by, reference.name, paired.recovery, paired.perplexity_ratio, same, same_tokens)
