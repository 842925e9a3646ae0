"""Each quantized cell against the unquantized model in the same server, question by question, with verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evals.paired import Paired, compare, decide_family
from evals.record import Trial
from reports.metrics import CellMetrics, accuracy_items


@dataclass(frozen=True)
class Flips:
    """One cell on one task of the plan."""

    name: str
    reference: str
    task: str
    paired: Paired


def flips(cells: Sequence[CellMetrics], relative_margin: float) -> list[Flips]:
    """All quantized cells on all tasks with items that are right or wrong; one family of comparisons."""
    found = [one for cell in cells for one in _of_cell(cell, cells, relative_margin)]
    decided = decide_family([paired for *_, paired in found])
    return [
        Flips(cell.name, reference.name, task, paired)
        for (cell, reference, task, _), paired in zip(found, decided, strict=True)
    ]


def _of_cell(
    cell: CellMetrics, cells: Sequence[CellMetrics], relative_margin: float
) -> Iterator[tuple[Trial, Trial, str, Paired]]:
    reference = next((one.trial for one in cells if one.is_baseline and one.trial.server == cell.trial.server), None)
    if reference is None or cell.trial.unquantized:
        return
    theirs = accuracy_items(reference)
    for task, (values, keys) in accuracy_items(cell.trial).items():
        other, other_keys = theirs.get(task, ([], []))
        if keys == other_keys and {*values, *other} <= {0.0, 1.0}:
            yield cell.trial, reference, task, compare(other, values, relative_margin=relative_margin)
