"""The items of a task in the order in which they are drawn, and pairs of them on two sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evals.record import Score

# the first that a task has is its headline, as in the field's tables
ACCURACY_METRICS = ("acc_norm", "acc", "exact_match")
LIKELIHOOD_METRICS = ("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte")


@dataclass(frozen=True)
class Items:
    """One task of a plan, its leaves together, in drawn order. `values` are the headline `metric`'s.

    `choices` is how many answers an item offers (0 where it is generated or open); `drawn` how many items the plan asks
    for, of which there are fewer here where an adaptive budget stopped.
    """

    task: str
    metric: str
    keys: tuple[str, ...]
    values: tuple[float, ...]
    clusters: tuple[str, ...]
    choices: tuple[int, ...]
    drawn: int

    @property
    def binary(self) -> bool:
        return {*self.values} <= {0.0, 1.0}


def headline(score: Score) -> str | None:
    """The metric that stands for the task; None for tasks of log-likelihoods alone."""
    known = next((metric for metric in ACCURACY_METRICS if metric in score.metrics), None)
    return known or next((metric for metric in score.metrics if metric not in LIKELIHOOD_METRICS), None)


def task_items(scores: Sequence[Score]) -> dict[str, Items]:
    """By task of the plan, those that have a headline metric."""
    by_task: dict[str, list[Score]] = {}
    for score in scores:
        if headline(score) is not None:
            by_task.setdefault(score.group, []).append(score)
    return {task: _items(task, leaves) for task, leaves in by_task.items()}


def _items(task: str, leaves: Sequence[Score]) -> Items:
    metric = headline(leaves[0]) or ""
    rows: list[tuple[int, str, float, str, int]] = []
    for one in leaves:
        column = one.metrics.index(metric)
        clusters = one.clusters or ("",) * len(one.item_keys)
        ranks = one.ranks or range(len(rows), len(rows) + len(one.item_keys))
        for rank, key, value, cluster, choices in zip(
            ranks, one.item_keys, one.values, clusters, one.loglikelihoods, strict=True
        ):
            name = f"{one.task}:{cluster}" if cluster else ""
            rows.append((rank, f"{one.task}:{key}", value[column], name, len(choices) if len(choices) > 1 else 0))
    rows.sort(key=lambda row: row[0])
    _, keys, values, clusters_, choices_ = zip(*rows, strict=True)
    drawn = sum(one.drawn or len(one.item_keys) for one in leaves)
    return Items(task, metric, keys, values, clusters_, choices_, drawn)


def matched(candidate: Items, baseline: Items) -> tuple[float, ...] | None:
    """The baseline's values of the candidate's items; None where the two were asked for other items."""
    if candidate.drawn != baseline.drawn or candidate.metric != baseline.metric:
        return None
    known: Mapping[str, float] = dict(zip(baseline.keys, baseline.values, strict=True))
    if not {*candidate.keys} <= known.keys():
        return None
    return tuple(known[key] for key in candidate.keys)
