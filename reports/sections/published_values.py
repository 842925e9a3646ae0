"""Baselines beside what was published of the same model in the same convention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from engines.runtime.own_packages import CONFIGS
from evals.accuracy.published_perplexity import RELATIVE_TOLERANCE, Anchor, anchors_for, read_anchors
from evals.schema.trial import Trial
from reports.metrics.cell import CellMetrics, convention_name, token_logprobs

ANCHORS = CONFIGS / "anchors.yaml"


@dataclass(frozen=True)
class Anchored:
    """A baseline's perplexity of the whole text against a published one."""

    name: str
    model: str
    convention: str
    measured: float
    published: float
    source: str

    @property
    def agrees(self) -> bool:
        return abs(self.measured / self.published - 1) <= RELATIVE_TOLERANCE


def anchored(cells: Sequence[CellMetrics], anchors: tuple[Anchor, ...] | None = None) -> list[Anchored]:
    """One row for each baseline and each published value of it; a text that was cut is another text."""
    known = read_anchors(ANCHORS) if anchors is None else anchors
    return [row for cell in cells if cell.is_baseline for row in _of(cell.trial, known)]


def _of(trial: Trial, anchors: tuple[Anchor, ...]) -> Iterator[Anchored]:
    for perplexity in trial.perplexities:
        if perplexity.max_tokens is not None:
            continue
        measured = float(np.exp(-np.mean(token_logprobs(perplexity))))
        for anchor in anchors_for(anchors, trial.model, perplexity.convention, perplexity.window_tokens):
            yield Anchored(trial.name, trial.model, convention_name(perplexity), measured, anchor.value, anchor.source)
