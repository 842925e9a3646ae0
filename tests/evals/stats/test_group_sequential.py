"""Budgets that stop: looks and shares by hand, error rates and savings by simulation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from evals.accuracy.adaptive_budget import Budget, spend
from evals.schema.accuracy import Score
from evals.stats.group_sequential import confidence_at, decides_later, follow, looks, settled, shares
from evals.stats.paired_items import Matched, task_items
from evals.stats.paired_tests import Paired, compare, verdicts
from evals.tasks.loaded_tasks import LoadedTasks
from tests.support.made_requests import pair


def test_each_look_has_a_root_of_two_more_items() -> None:
    assert looks(2376) == (74, 105, 148, 210, 297, 420, 594, 840, 1188, 1680, 2376)
    assert looks(200) == (25, 35, 50, 70, 100, 141, 200)
    assert looks(100) == (25, 35, 50, 70, 100)
    assert looks(99) == (99,)
    assert looks(3) == (3,)


@pytest.mark.parametrize("plan", [(30,), (25, 40), looks(200), looks(2376)])
def test_the_shares_add_up_to_the_error_rate(plan: tuple[int, ...]) -> None:
    assert sum(shares(plan)) == pytest.approx(1.0)
    assert list(shares(plan)) == sorted(shares(plan))
    assert shares((25, 50, 200)) == pytest.approx((1 / 6, 1 / 3, 1 / 2))


def _matched(base: Sequence[float], cell: Sequence[float], drawn: int | None = None) -> Matched:
    """Items in one stratum, of which `drawn` there are."""
    count = len(base)
    return Matched(tuple(base), tuple(cell), ("",) * count, (0,) * count, (drawn or count,))


def _drawn(generator: np.random.Generator, items: int, lost: float, gained: float) -> tuple[list[float], list[float]]:
    """Baseline and candidate in drawn order, with these true shares; 60 % of the baseline are right."""
    kinds = generator.choice(4, items, p=[lost, gained, 0.6 - lost, 0.4 - gained])
    return [float(k in (0, 2)) for k in kinds], [float(k in (1, 2)) for k in kinds]


def test_p_values_pay_for_the_looks_and_never_rise_again() -> None:
    base, cell = _drawn(np.random.default_rng(0), 800, 0.15, 0.02)
    pairs = _matched(base, cell)
    seen = [follow(pairs.first(n), 0.006) for n in (25, 100, 400, 800)]
    assert [comparison.items for comparison in seen] == [25, 100, 400, 800]
    assert [comparison.p_different for comparison in seen] == sorted(
        (comparison.p_different for comparison in seen), reverse=True
    )
    alone = compare(base[:25], cell[:25], margin=0.006)
    assert seen[0].p_different == pytest.approx(min(1.0, alone.p_different / shares(looks(800))[0]))
    assert seen[0].difference.high - seen[0].difference.low > alone.difference.high - alone.difference.low
    with pytest.raises(ValueError, match="24 items are fewer than the first look, 25"):
        follow(pairs.first(24), 0.006)


def test_a_long_task_without_right_and_wrong_is_followed() -> None:
    """TruthfulQA's MC2 has 817 questions: its first look has a confidence of 0.99967."""
    generator = np.random.default_rng(8)
    base = generator.random(817)
    comparison = follow(_matched(base.tolist(), (0.9 * base).tolist()), 0.006)
    assert math.isfinite(comparison.difference.low)
    assert _verdict(comparison) == "worse"


def _run(pairs: Matched, margin: float, level: float = 0.05) -> Paired:
    """What an adaptive budget finds: look by look until it is settled."""
    for count in looks(pairs.drawn):
        if settled(pairs.first(count), margin, level):
            return follow(pairs.first(count), margin)
    raise AssertionError("the last look settles everything")


def _verdict(comparison: Paired, level: float = 0.05) -> str:
    return verdicts([(comparison.p_different, comparison.p_equivalent, comparison.difference.value > 0)], level)[0]


def test_intervals_are_surer_at_early_looks() -> None:
    assert confidence_at(2376, 2376) == pytest.approx(0.975)  # half of the error rate
    assert confidence_at(74, 2376) > confidence_at(297, 2376) > confidence_at(2376, 2376)
    assert confidence_at(99, 99) == pytest.approx(0.95)


@pytest.mark.parametrize("noise", [0.05, 0.3])
def test_null_comparisons_are_decided_no_more_often_than_stated(noise: float) -> None:
    """Checkpoints of which neither is better: 2 and 14 % of their answers differ, most of them undecided ones."""
    generator, wrong = np.random.default_rng(1), 0
    for _ in range(150):
        wrong += _verdict(_run(pair(generator, 400, noise), 0.006)) in ("better", "worse")
    assert wrong / 150 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 150)


def test_a_loss_of_the_margin_is_rarely_called_equivalent() -> None:
    generator, wrong = np.random.default_rng(2), 0
    for _ in range(120):
        wrong += _verdict(_run(_matched(*_drawn(generator, 800, 0.04, 0.01)), 0.03)) == "equivalent"
    assert wrong / 120 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 120)


def test_a_great_loss_needs_few_items_and_is_found_as_often_as_by_all() -> None:
    generator, detected, by_all, items = np.random.default_rng(3), 0, 0, 0
    for _ in range(60):
        pairs = pair(generator, 1600, 0.2, loss=0.3)
        comparison = _run(pairs, 0.006)
        detected += _verdict(comparison) == "worse"
        by_all += _verdict(compare(pairs.baseline, pairs.candidate, margin=0.006)) == "worse"
        items += comparison.items
    assert by_all == detected == 60
    assert items / 60 < 0.2 * 1600


def test_what_cannot_be_decided_is_given_up_early() -> None:
    generator = np.random.default_rng(4)
    comparisons = [_run(pair(generator, 1600, 0.1), 0.006, 0.005) for _ in range(20)]
    assert [_verdict(comparison, 0.005) for comparison in comparisons].count("inconclusive") >= 18
    assert np.mean([comparison.items for comparison in comparisons]) <= 0.3 * 1600
    assert all(comparison.more_items for comparison in comparisons if _verdict(comparison, 0.005) == "inconclusive")


def test_the_chance_to_decide_later() -> None:
    near = _matched([1.0] * 60 + [0.0] * 40, [0.0] * 9 + [1.0] * 51 + [0.0] * 40, 1000)
    assert decides_later(near, 0.006, 0.05) > 0.9
    equal = _matched([1.0] * 60 + [0.0] * 40, [0.0] * 3 + [1.0] * 60 + [0.0] * 37, 120)
    assert decides_later(equal, 0.006, 0.05) < 0.05


class _Model:
    """Evaluates items of two tasks as given; notes which were asked for."""

    def __init__(
        self, values: Mapping[str, Sequence[float]], margins: Mapping[str, Sequence[float]] | None = None
    ) -> None:
        self.values = values
        self.margins = margins or {}
        self.asked: list[dict[str, list[int]]] = []

    def __call__(self, chosen: Mapping[str, Sequence[int]]) -> list[Score]:
        self.asked.append({leaf: list(items) for leaf, items in chosen.items()})
        return [self._score(leaf, items) for leaf, items in chosen.items() if items]

    def _score(self, leaf: str, items: Sequence[int]) -> Score:
        values = tuple((self.values[leaf][item],) for item in items)
        keys, many = tuple(f"{item}:d:p" for item in items), len(self.values[leaf])
        margins = tuple(self.margins[leaf][item] for item in items) if leaf in self.margins else ()
        two = ((-1.0, -2.0),) * len(items)
        return Score(leaf, leaf, 0, ("acc",), keys, values, two, tuple(items), many, margins=margins)


def _tasks(sizes: Mapping[str, int]) -> LoadedTasks:
    ranks = {leaf: list(range(size)) for leaf, size in sizes.items()}
    return LoadedTasks(None, SimpleNamespace(), {leaf: leaf for leaf in sizes}, ranks, ranks)  # type: ignore[arg-type]


def test_each_task_stops_by_itself() -> None:
    generator = np.random.default_rng(5)
    base: dict[str, Any] = {}
    cell: dict[str, Any] = {}
    base["bad"], cell["bad"] = _drawn(generator, 800, 0.3, 0.01)
    base["close"], cell["close"] = _drawn(generator, 800, 0.002, 0.0)
    tasks = _tasks({"bad": 800, "close": 800})
    scores = _Model(base)(tasks.samples)
    model = _Model(cell)
    spent = {score.task: score for score in spend(model, tasks, scores, Budget(0.05, 0.05, 2))}
    assert len(spent["bad"].values) == 50
    assert 70 <= len(spent["close"].values) <= 800
    assert spent["bad"].drawn == 800
    assert ["bad" in asked for asked in model.asked[:4]] == [True, True, True, False]
    assert spent["close"].item_keys == tuple(f"{n}:d:p" for n in range(len(spent["close"].values)))


def test_tasks_without_right_and_wrong_and_other_items_are_scored_whole() -> None:
    tasks = _tasks({"a": 100, "b": 100})
    model = _Model({"a": [1.0] * 100, "b": [0.0] * 100})
    other = replace(_Model({"b": [1.0] * 99})._score("b", range(99)), drawn=99)
    scores = {score.task: score for score in spend(model, tasks, [other], Budget(0.05, 0.01, 2))}
    assert {task: len(score.values) for task, score in scores.items()} == {"a": 100, "b": 100}
    assert model.asked == [{"a": list(range(100)), "b": list(range(100))}]


def test_undecided_items_are_asked_first() -> None:
    generator = np.random.default_rng(6)
    base, cell = _drawn(generator, 800, 0.3, 0.01)
    tasks, margins = _tasks({"bad": 800}), {"bad": generator.random(800).tolist()}
    scores = _Model({"bad": base}, margins)(tasks.samples)
    model = _Model({"bad": cell})
    (score,) = spend(model, tasks, scores, Budget(0.05, 0.05, 1))
    first = [margins["bad"][item] for item in model.asked[0]["bad"]]
    assert len(first) == 25
    assert np.mean(first) < 0.4
    assert max(first) > 0.875  # one of the most decided ones too
    assert task_items([score])["bad"].drawn == 800
    assert len(score.values) < 200
