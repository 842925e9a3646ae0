"""Scoring a checkpoint's items look by look against its baseline's, until each task's comparison is settled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evals.schema.accuracy import Score
from evals.stats.group_sequential import looks, settled
from evals.stats.paired_items import asking_order, matched, task_items
from evals.stats.paired_tests import margin_of
from evals.tasks.loaded_tasks import LoadedTasks

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
    order = _orders(tasks, baseline)
    reached = dict.fromkeys(order, 0)
    scores: list[Score] = []
    open_ = {task: iter(counts) for task, (_, counts) in order.items()}
    while open_:
        wanted = {task: next(counts) for task, counts in open_.items()}
        ranks = {task: order[task][0][reached[task] : count] for task, count in wanted.items()}
        scores = joined([*scores, *evaluate(tasks.ranked(ranks))])
        reached |= wanted
        open_ = {
            task: counts
            for task, counts in open_.items()
            if wanted[task] < tasks.drawn(task) and not _settled(task, scores, baseline, budget)
        }
    return scores


def _orders(tasks: LoadedTasks, baseline: Sequence[Score]) -> dict[str, tuple[Sequence[int], Sequence[int]]]:
    """Of each task: ranks in the order in which they are asked, and after how many it is looked at."""
    comparable = task_items(baseline)
    orders: dict[str, tuple[Sequence[int], Sequence[int]]] = {}
    for task in sorted(set(tasks.parents.values())):
        drawn = tasks.drawn(task)
        if task in comparable and len(comparable[task].keys) == drawn:
            orders[task] = asking_order(comparable[task]), looks(drawn)
        else:
            orders[task] = range(drawn), (drawn,)
    return orders


def _settled(task: str, scores: Sequence[Score], baseline: Sequence[Score], budget: Budget) -> bool:
    theirs = task_items(baseline)[task]
    pairs = matched(task_items(scores)[task], theirs)
    if pairs is None:
        return False  # other items than the baseline's: nothing can be compared, and the report will say so
    margin = margin_of(theirs.values, budget.relative_margin)
    return settled(pairs, margin, budget.error_rate / budget.comparisons)


def joined(scores: Sequence[Score]) -> list[Score]:
    """Scores of the same leaves on other items as one for each leaf."""
    by_leaf: dict[str, list[Score]] = {}
    for score in scores:
        by_leaf.setdefault(score.task, []).append(score)
    return [_join(by_leaf[leaf]) for leaf in sorted(by_leaf)]


def _join(scores: Sequence[Score]) -> Score:
    columns = ("item_keys", "values", "loglikelihoods", "ranks", "clusters", "margins", "texts")
    all_items: dict[str, Any] = {name: sum((getattr(score, name) for score in scores), ()) for name in columns}
    for name in ("margins", "texts"):
        if len(all_items[name]) < len(all_items["item_keys"]):
            all_items[name] = ()  # not known of all
    return replace(scores[0], **all_items, empty_contexts=sum(score.empty_contexts for score in scores))
