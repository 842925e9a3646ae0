"""What changes when the same checkpoint moves from one engine to another: speed, waits, memory, answers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evals.schema.load import LoadPoint
from evals.schema.trial import Trial
from evals.stats.intervals import Estimate
from evals.stats.paired_items import trial_items
from reports.metrics.cell import CellMetrics
from reports.metrics.load import LoadMetrics
from reports.metrics.ratios import ratio_of_means


@dataclass(frozen=True)
class Move:
    """One method of one model in the engine `after` ÷ the same in `before`, each with the options that tell it apart.

    `rate`: output tokens/s at `busiest`, the highest load of both; `ttft` and `tpot`: medians at `calmest`, their
    lowest; `memory`: peak bytes. Of the `items` that both were asked, `changed` were right in one engine alone.
    """

    model: str
    method: str
    before: str
    after: str
    busiest: LoadPoint
    rate: Estimate
    calmest: LoadPoint
    ttft: float | None
    tpot: float | None
    memory: float | None
    items: int
    changed: int


def moves(cells: Sequence[CellMetrics]) -> list[Move]:
    """Every pair of engines that served the same method of the same model under a common load, in the plan's order."""
    groups: dict[tuple[str, str], list[CellMetrics]] = {}
    for cell in cells:
        groups.setdefault((cell.trial.model, cell.trial.method_label), []).append(cell)
    pairs = [pair for group in groups.values() for pair in itertools.combinations(group, 2)]
    shifts = [move for before, after in pairs if (move := _move(before, after)) is not None]
    return sorted(shifts, key=lambda move: (move.before, move.after))


def _answers(was: Trial, now: Trial) -> Iterator[tuple[float, float]]:
    """Of the items of each task that both were asked, by their headline metric."""
    theirs = trial_items(was)
    for task, after in trial_items(now).items():
        before = theirs.get(task)
        if before is None or before.metric != after.metric:
            continue
        if before.keys == after.keys:
            yield from zip(before.values, after.values, strict=True)
            continue
        known = dict(zip(before.keys, before.values, strict=True))
        yield from ((known[key], x) for key, x in zip(after.keys, after.values, strict=True) if key in known)


def _move(before: CellMetrics, after: CellMetrics) -> Move | None:
    if before.trial.served_by == after.trial.served_by:
        return None
    theirs = {load.load: load for load in after.loads}
    common = [(load, theirs[load.load]) for load in before.loads if load.load in theirs and load.load.concurrency]
    if not common:
        return None
    answers = list(_answers(before.trial, after.trial))
    calmest, busiest = (pick(common, key=lambda pair: pair[0].load.concurrency or 0) for pick in (min, max))
    return Move(
        model=after.trial.model,
        method=after.trial.method_label,
        before=before.trial.served_by,
        after=after.trial.served_by,
        busiest=busiest[0].load,
        rate=ratio_of_means(busiest[1].output_rate, busiest[0].output_rate),
        calmest=calmest[0].load,
        ttft=_ratio(*(load.latency.ttft[0].value for load in calmest)),
        tpot=_ratio(*map(_tpot, calmest)),
        memory=_ratio(before.peak_bytes, after.peak_bytes),
        items=len(answers),
        changed=sum(was != now for was, now in answers),
    )


def _tpot(load: LoadMetrics) -> float | None:
    return load.latency.tpot_p50_seconds


def _ratio(before: float | None, after: float | None) -> float | None:
    return after / before if before and after is not None else None
