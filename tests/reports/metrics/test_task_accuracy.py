from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from evals.stats.intervals import proportion
from evals.stats.paired_items import Items, task_items
from reports.decision.results import conclude
from reports.metrics.task_accuracy import accuracy_of, difference_estimate, mean_accuracy
from tests.support.made_requests import matched_of
from tests.support.made_trials import ABOUT, score, trial


def _items(values: list[float], drawn: int, metric: str = "acc") -> Items:
    keys = tuple(f"k{n}" for n in range(len(values)))
    return Items("arc", metric, keys, tuple(values), ("",) * len(keys), (4,) * len(keys), drawn)


def test_all_items_have_wilsons_interval() -> None:
    assert accuracy_of(_items([1.0, 0.0, 1.0], 3), None) == proportion(2, 3)


def test_some_items_move_the_baselines_accuracy() -> None:
    """The first items are hard ones: both sides have half of them right, the baseline 80 % of all."""
    values = [1.0, 0.0] * 20 + [1.0] * 60
    same = accuracy_of(_items([1.0, 0.0] * 20, 100), _items(values, 100))
    assert same.value == pytest.approx(0.8)
    lost = accuracy_of(_items([0.0, 0.0] * 4 + [1.0, 0.0] * 16, 100), _items(values, 100))
    assert lost.value == pytest.approx(0.7)
    assert lost.count == 40
    assert lost.low < 0.7 < lost.high <= 1.0


def test_the_interval_covers_what_all_items_would_show() -> None:
    generator, covered = np.random.default_rng(0), 0
    for _ in range(400):
        base = (generator.random(500) < 0.6).astype(float)
        cell = np.where(generator.random(500) < 0.1, 1 - base, base)
        estimate = difference_estimate(base.tolist(), matched_of(base, cell, np.zeros(0)).first(100))
        covered += estimate.low <= 0.6 * 0.9 + 0.4 * 0.1 <= estimate.high
    assert abs(covered / 400 - 0.95) <= 3 * math.sqrt(0.95 * 0.05 / 400) + 0.01


def test_the_interval_covers_where_undecided_items_were_asked_first() -> None:
    """Three of four flips of undecided items are losses: asked more often, they would seem to be a greater loss."""
    generator, covered, values = np.random.default_rng(1), 0, []
    for _ in range(400):
        leads, base = generator.random(500), generator.random(500) < 0.6
        lost = (leads < 0.4) & base & (generator.random(500) < 0.25)
        every_item = base.astype(float)
        estimate = difference_estimate(every_item.tolist(), matched_of(base, base & ~lost, leads).first(100))
        covered += estimate.low <= 0.6 * (1 - 0.4 * 0.25) <= estimate.high
        values.append(estimate.value)
    assert np.mean(values) == pytest.approx(0.54, abs=0.005)
    assert covered / 400 >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 400)


def test_the_mean_over_tasks_takes_both_kinds() -> None:
    full, partial = _items([1.0] * 40 + [0.0] * 60, 100), _items([1.0] * 10 + [0.0] * 10, 100)
    reference = _items([1.0] * 10 + [0.0] * 90, 100)
    estimate = mean_accuracy({"a": full, "arc": dataclasses.replace(partial)}, {"arc": reference, "a": full})
    assert estimate is not None
    assert estimate.value == pytest.approx((0.4 + 0.1) / 2)
    assert mean_accuracy({"a": _items([0.3, 0.4], 2, metric="rouge1")}, {}) is None


def test_a_cell_that_stopped_early_stands_beside_its_baseline_and_shows_no_perplexity_of_fewer_items() -> None:
    base = trial("none", 10, 1, 80)
    words = dataclasses.replace(score("lambada", [1.0] * 60 + [0.0] * 40), metrics=("acc", "perplexity"))
    words = dataclasses.replace(words, values=tuple((value, -1.0) for (value,) in words.values), drawn=100)
    base = dataclasses.replace(base, scores=(words,))
    partial = dataclasses.replace(
        words, item_keys=words.item_keys[:20], values=words.values[:20], loglikelihoods=words.loglikelihoods[:20]
    )
    cell = dataclasses.replace(trial("rtn", 10, 1, 80), scores=(partial,))
    assert len(task_items(cell.scores)["lambada"].values) == 20
    estimates = {task.metric: task.estimate for task in conclude(ABOUT, [base, cell]).cells[1].tasks}
    assert estimates["accuracy"].value == pytest.approx(0.6)  # not 1.0, as of the first twenty
    assert "perplexity of the last word" not in estimates
