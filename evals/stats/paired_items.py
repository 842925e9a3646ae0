"""The items of a task in the order in which they are drawn, and pairs of them on two sides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from evals.schema.accuracy import Score
from evals.schema.trial import Trial
from evals.stats.stratification import crowding, drawing_order, strata_of

# the first that a task has is its headline, as in the field's tables
ACCURACY_METRICS = ("acc_norm", "acc", "exact_match")
JOIN = ", "
MOST_CROWDED = 1.25  # above, whole passages are compared, in a random order
LIKELIHOOD_METRICS = ("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte")


@dataclass(frozen=True)
class Items:
    """One task of a plan, its leaves together, in drawn order. `values` are those of each leaf's headline metric;
    `metric` names it, or all of them where leaves have different accuracies.

    `ranks` are their places in the random order of the task. `choices` is how many answers an item offers (0 where it
    is generated or open), `margins` how far the best one was ahead (empty where that is not known); `drawn` how many
    items the plan asks for, of which there are fewer here where an adaptive budget stopped.
    """

    task: str
    metric: str
    keys: tuple[str, ...]
    values: tuple[float, ...]
    clusters: tuple[str, ...]
    choices: tuple[int, ...]
    drawn: int
    ranks: tuple[int, ...] = ()
    margins: tuple[float, ...] = ()

    @property
    def is_accuracy(self) -> bool:
        """Whether it is a share of items that are right."""
        return {*self.metric.split(JOIN)} <= {*ACCURACY_METRICS}

    @property
    def binary(self) -> bool:
        return {*self.values} <= {0.0, 1.0}

    @cached_property
    def strata(self) -> tuple[int, ...]:
        """Of each item; all one where items are not right or wrong, many share passages, or margins are unknown."""
        plain = self.binary and crowding(self.clusters) <= MOST_CROWDED and len(self.margins) == len(self.values)
        return tuple(strata_of(self.margins).tolist()) if plain else (0,) * len(self.values)

    @cached_property
    def in_order(self) -> Matched:
        """These items beside themselves, in `order`: what every candidate is matched with."""
        values = tuple(self.values[place] for place in self.order)
        return Matched(
            baseline=values,
            candidate=values,
            clusters=tuple(self.clusters[place] for place in self.order),
            strata=tuple(self.strata[place] for place in self.order),
            sizes=tuple(np.bincount(self.strata).tolist()),
            keys=tuple(self.keys[place] for place in self.order),
        )

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Places of all items in the order in which an adaptive budget asks them of a candidate."""
        return tuple(drawing_order(np.asarray(self.strata)).tolist())


@dataclass(frozen=True)
class Matched:
    """A candidate's items beside the same of its baseline, in the order in which a budget asks them.

    `strata` are each item's, `sizes` those of the whole set; `keys` are empty where the items are not told apart.
    """

    baseline: tuple[float, ...]
    candidate: tuple[float, ...]
    clusters: tuple[str, ...]
    strata: tuple[int, ...]
    sizes: tuple[int, ...]
    keys: tuple[str, ...] = ()

    @property
    def drawn(self) -> int:
        return sum(self.sizes)

    @property
    def weights(self) -> tuple[float, ...]:
        """How many items of the whole set each one stands for."""
        asked = [self.strata.count(number) for number in range(len(self.sizes))]
        return tuple(self.sizes[number] / asked[number] for number in self.strata)

    def first(self, count: int) -> Matched:
        columns = ("baseline", "candidate", "clusters", "strata", "keys")
        return replace(self, **{name: getattr(self, name)[:count] for name in columns})


def headline(score: Score) -> str | None:
    """The metric that stands for the task; None for tasks of log-likelihoods alone."""
    known = next((metric for metric in ACCURACY_METRICS if metric in score.metrics), None)
    return known or next((metric for metric in score.metrics if metric not in LIKELIHOOD_METRICS), None)


def task_items(scores: Sequence[Score]) -> dict[str, Items]:
    """By task of the plan, those that have a headline metric. Different metrics of a group's leaves are averaged only
    where all are shares of right answers; others are tasks of their own, named by the group and their metric.
    """
    metrics: dict[str, set[str]] = {}
    for score in scores:
        metrics.setdefault(score.group, set()).update(filter(None, [headline(score)]))
    by_task: dict[str, list[Score]] = {}
    for score in scores:
        if (metric := headline(score)) is not None:
            alone = len(metrics[score.group]) > 1 and metric not in ACCURACY_METRICS
            by_task.setdefault(f"{score.group} ({metric})" if alone else score.group, []).append(score)
    return {task: _items(task, leaves) for task, leaves in by_task.items()}


def trial_items(trial: Trial) -> Mapping[str, Items]:
    """`task_items` of a trial, which keeps them: every conclusion asks for them."""
    memo = vars(trial)  # no field of the record, so that nothing that is written or compared has it
    if "_items" not in memo:
        memo["_items"] = task_items(trial.scores)
    items: Mapping[str, Items] = memo["_items"]
    return items


def _items(task: str, leaves: Sequence[Score]) -> Items:
    metric = JOIN.join(sorted({headline(leaf) or "" for leaf in leaves}))
    ranks, keys, values, clusters, choices, margins = zip(*_rows(leaves), strict=True)
    drawn = sum(leaf.drawn or len(leaf.item_keys) for leaf in leaves)
    known = () if any(math.isnan(margin) for margin in margins) else margins
    return Items(task, metric, keys, values, clusters, choices, drawn, ranks, known)


def _rows(leaves: Sequence[Score]) -> list[tuple[int, str, float, str, int, float]]:
    """(rank, key, value, cluster, choices, margin) of each item, in the order of their ranks."""
    rows: list[tuple[int, str, float, str, int, float]] = []
    for leaf in leaves:
        column, count = leaf.metrics.index(headline(leaf) or ""), len(leaf.item_keys)
        clusters, margins = leaf.clusters or ("",) * count, leaf.margins or (math.nan,) * count
        ranks = leaf.ranks or range(len(rows), len(rows) + count)
        for rank, key, value, cluster, choices, margin in zip(
            ranks, leaf.item_keys, leaf.values, clusters, leaf.loglikelihoods, margins, strict=True
        ):
            name = f"{leaf.task}:{cluster}" if cluster else ""
            rows.append(
                (rank, f"{leaf.task}:{key}", value[column], name, len(choices) if len(choices) > 1 else 0, margin)
            )
    return sorted(rows, key=lambda row: row[0])


def matched(candidate: Items, baseline: Items) -> Matched | None:
    """The candidate's items in the order in which they are asked; None where the two were asked for other items."""
    if candidate.drawn != baseline.drawn or candidate.metric != baseline.metric:
        return None
    ours = dict(zip(candidate.keys, candidate.values, strict=True))
    if candidate.keys != baseline.keys and not ours.keys() <= {*baseline.keys}:
        return None
    in_order = baseline.in_order
    if len(ours) == len(in_order.keys):
        return replace(in_order, candidate=tuple(ours[key] for key in in_order.keys))
    places = [place for place, key in enumerate(in_order.keys) if key in ours]
    return Matched(
        baseline=tuple(in_order.baseline[place] for place in places),
        candidate=tuple(ours[in_order.keys[place]] for place in places),
        clusters=tuple(in_order.clusters[place] for place in places),
        strata=tuple(in_order.strata[place] for place in places),
        sizes=in_order.sizes,
        keys=tuple(in_order.keys[place] for place in places),
    )


def asking_order(baseline: Items) -> tuple[int, ...]:
    """`Items.order` as ranks in the random order of the task."""
    return tuple(baseline.ranks[place] for place in baseline.order)
