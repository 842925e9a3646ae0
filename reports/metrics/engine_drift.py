"""How far two trials of one model are apart on the same items: one checkpoint in two engines, or two in one engine.

An engine's own arithmetic moves log-probabilities too. What a quantization costs means something only beside that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evals.schema.accuracy import Score
from evals.schema.trial import Trial
from evals.stats.paired_items import headline
from reports.metrics.cell import CellMetrics


@dataclass(frozen=True)
class Drift:
    """`name` against `reference` on the items that both scored.

    `changed` items were right on one side alone. `mean_nats` and `worst_nats` are |Δ log-likelihood| of single
    requests (a choice of a question, LAMBADA's last word); None where no log-likelihoods were kept.
    """

    kind: Literal["engine", "quantization"]
    name: str
    reference: str
    items: int
    changed: int
    mean_nats: float | None
    worst_nats: float | None


def drifts(cells: Sequence[CellMetrics]) -> list[Drift]:
    """Baselines against the model's first baseline (engines), then every other cell against its own baseline."""
    measured = []
    for cell in cells:
        reference = first_baseline(cell, cells) if cell.is_baseline else cell.baseline
        if reference is not None and reference is not cell.trial:
            drift = compare(cell.trial, reference)
            measured += [drift] if drift.items else []
    return sorted(measured, key=lambda drift: drift.kind != "engine")


def first_baseline(cell: CellMetrics, cells: Sequence[CellMetrics]) -> Trial:
    """Of a baseline's model, the one in the first engine: the others' own arithmetic is told by it."""
    return next(
        cell_metrics.trial
        for cell_metrics in cells
        if cell_metrics.trial.model == cell.trial.model and cell_metrics.is_baseline
    )


def compare(trial: Trial, reference: Trial) -> Drift:
    """All items of the tasks that both have (documents and prompts)."""
    items, changed, nats = 0, 0, []
    for ours, theirs in _common(trial, reference):
        metric = headline(ours)
        column = ours.metrics.index(metric) if metric is not None and metric == headline(theirs) else None
        rows = {key: number for number, key in enumerate(theirs.item_keys)}
        for number, key in enumerate(ours.item_keys):
            other = rows.get(key)
            if other is None:
                continue
            if column is not None:
                items += 1
                changed += ours.values[number][column] != theirs.values[other][column]
            pairs = zip(ours.loglikelihoods[number], theirs.loglikelihoods[other], strict=True)
            nats += [abs(x - y) for x, y in pairs]
    kind: Literal["engine", "quantization"] = "quantization" if trial.server == reference.server else "engine"
    mean, worst = (float(np.mean(nats)), max(nats)) if nats else (None, None)
    return Drift(kind, trial.name, reference.name, items, changed, mean, worst)


def _common(trial: Trial, reference: Trial) -> Iterator[tuple[Score, Score]]:
    by_task = {score.task: score for score in reference.scores}
    for score in trial.scores:
        other = by_task.get(score.task)
        if other is not None and other.metrics == score.metrics:
            yield score, other
