"""Scoring a checkpoint's items look by look against its baseline's, until each task's comparison is settled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from evals.accuracy import joined
from evals.items import matched, task_items
from evals.paired import margin_of
from evals.record import Score
from evals.sequential import follow, looks, settled
from evals.tasks import LoadedTasks

Evaluate = Callable[[Mapping[str, Sequence[int]]], list[Score]]


@dataclass(frozen=True)
class Budget:
    """What an adaptive budget may spend: the error rate of all `comparisons` (cells × tasks) of the sweep together, and
    the margin of equivalence relative to the baseline's accuracy.
    """

    error_rate: float
    relative_margin: float
    comparisons: int


def spend(evaluate: Evaluate, tasks: LoadedTasks, baseline: Sequence[Score], budget: Budget) -> list[Score]:
    """Scores of as many items of each task as its comparison needs; of all, where there is nothing to compare with.

    `evaluate` scores given items (indexes by leaf).
    """
    comparable = task_items(baseline)
    reached: dict[str, int] = {}
    found: list[Score] = []
    open_ = {task: iter(_counts(task, tasks, task in comparable)) for task in sorted(set(tasks.parents.values()))}
    while open_:
        wanted = {task: next(counts) for task, counts in open_.items()}
        found = joined([*found, *evaluate(tasks.between(reached, wanted))])
        reached |= wanted
        open_ = {
            task: counts
            for task, counts in open_.items()
            if wanted[task] < tasks.drawn(task) and not _settled(task, found, baseline, budget)
        }
    return found


def _counts(task: str, tasks: LoadedTasks, comparable: bool) -> tuple[int, ...]:
    return looks(tasks.drawn(task)) if comparable else (tasks.drawn(task),)


def _settled(task: str, found: Sequence[Score], baseline: Sequence[Score], budget: Budget) -> bool:
    ours, theirs = task_items(found)[task], task_items(baseline)[task]
    same = matched(ours, theirs)
    if same is None:
        return False  # other items than the baseline's: nothing can be compared, and the report will say so
    margin = margin_of(theirs.values, budget.relative_margin)
    one = follow(same, ours.values, ours.drawn, margin=margin, clusters=ours.clusters)
    return settled(one, budget.error_rate, budget.comparisons)
