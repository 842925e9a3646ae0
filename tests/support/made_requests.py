"""Checkpoints that are noisy readings of one truth: their answers flip where the best two are close."""

from __future__ import annotations

import numpy as np

from evals.stats.intervals import Floats
from evals.stats.paired_items import Items, Matched, matched


def pair(generator: np.random.Generator, items: int, noise: float, loss: float = 0.0) -> Matched:
    """A baseline and a candidate of four-choice questions, in asking order.

    Each reads the same four scores with its own noise, so that without a `loss` neither is better; the candidate reads
    the right answer's score as that much lower.
    """
    truth = generator.normal(size=(items, 4))
    truth[:, 0] += 0.6
    base, cell = (truth + noise * generator.normal(size=truth.shape) for _ in range(2))
    cell[:, 0] -= loss
    best = np.sort(base, axis=1)
    return matched_of(base.argmax(axis=1) == 0, cell.argmax(axis=1) == 0, best[:, -1] - best[:, -2])


def matched_of(base: Floats, cell: Floats, margins: Floats) -> Matched:
    """Of right answers on both sides and the baseline's margins, in the random order of the task."""
    count = len(base)
    keys, none, ranks = tuple(f"leaf:{n}:d:p" for n in range(count)), ("",) * count, tuple(range(count))

    def side(right: Floats, margins: tuple[float, ...]) -> Items:
        values = tuple(right.astype(float).tolist())
        return Items("task", "acc", keys, values, none, (4,) * count, count, ranks, margins)

    pairs = matched(side(cell, ()), side(base, tuple(margins.tolist())))
    assert pairs is not None
    return pairs
