from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pytest

from evals.schema.trial import Trial
from evals.stats.intervals import proportion
from evals.stats.paired_items import Items, task_items
from reports.decision.results import conclude
from reports.metrics.task_accuracy import accuracy_of, difference_estimate, mean_accuracy, recovery
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
        estimate = difference_estimate(_items(base.tolist(), 500), matched_of(base, cell, np.zeros(0)).first(100))
        covered += estimate.low <= 0.6 * 0.9 + 0.4 * 0.1 <= estimate.high
    assert abs(covered / 400 - 0.95) <= 3 * math.sqrt(0.95 * 0.05 / 400) + 0.01


def test_the_interval_covers_where_undecided_items_were_asked_first() -> None:
    """Three of four flips of undecided items are losses: asked more often, they would seem to be a greater loss."""
    generator, covered, values = np.random.default_rng(1), 0, []
    for _ in range(400):
        margins, base = generator.random(500), generator.random(500) < 0.6
        lost = (margins < 0.4) & base & (generator.random(500) < 0.25)
        every_item = base.astype(float)
        estimate = difference_estimate(
            _items(every_item.tolist(), 500), matched_of(base, base & ~lost, margins).first(100)
        )
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


def _answered(method: str, right: Sequence[float], passage: int = 0) -> Trial:
    """One task; questions share a passage by so many, where there are any."""
    clusters = tuple(f"p{number // passage}" for number in range(len(right))) if passage else ()
    return dataclasses.replace(
        trial(method, 10, 1, 50), scores=(dataclasses.replace(score("arc", right), clusters=clusters),)
    )


def test_no_flip_among_ten_questions_shows_no_recovery() -> None:
    same = [1.0] * 5 + [0.0] * 5
    estimate = recovery(_answered("rtn", same), _answered("none", same))
    assert estimate is not None
    assert (estimate.value, estimate.count) == (1.0, 10)
    assert estimate.low < 0.6
    assert estimate.high > 1.4
    judged = conclude(ABOUT, [_answered("none", same), _answered("rtn", same)]).judged
    assert "accuracy recovered 1.000" in judged[1].why
    assert judged[1].verdict == "inconclusive"


@pytest.mark.parametrize("questions", [20, 40, 400])
def test_a_recovery_below_the_limit_is_rarely_called_met(questions: int) -> None:
    """The truth is 0.97, the limit 0.98: half of the baseline's answers are right, 1.5 % of all are lost."""
    generator, met = np.random.default_rng(questions), 0
    for _ in range(300):
        base = generator.random(questions) < 0.5
        cell = base & (generator.random(questions) >= 0.03)
        estimate = recovery(_answered("rtn", cell.astype(float)), _answered("none", base.astype(float)))
        met += estimate is not None and estimate.low >= 0.98
    assert met / 300 <= 0.025


def test_a_baseline_is_recovered_by_itself_and_one_without_a_right_answer_by_nothing() -> None:
    base, none = _answered("none", [1.0, 0.0, 1.0]), _answered("none", [0.0] * 3)
    itself, unknown = recovery(base, base), recovery(_answered("rtn", [0.0, 1.0, 0.0]), none)
    assert itself is not None
    assert unknown is None
    assert (itself.low, itself.value, itself.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("tasks", [1, 3])
def test_shared_passages_widen_accuracy_and_recovery(tasks: int) -> None:
    """20 passages of 10 questions, of which each passage has its own difficulty: 95 % promised."""
    generator, held = np.random.default_rng(tasks), np.zeros(2)
    for _ in range(200):
        hard = np.repeat(generator.beta(1.2, 1.2, (tasks, 20)), 10, axis=1)
        flips = np.repeat(generator.beta(0.3, 2.7, (tasks, 20)), 10, axis=1)
        base = generator.random(hard.shape) < hard
        cell = base & (generator.random(hard.shape) >= flips)
        names = tuple(f"p{number // 10}" for number in range(200))
        scores = [
            [dataclasses.replace(score(f"t{i}", row.astype(float)), clusters=names) for i, row in enumerate(side)]
            for side in (cell, base)
        ]
        ours, theirs = (
            dataclasses.replace(trial(method, 10, 1, 50), scores=tuple(of))
            for method, of in zip(("rtn", "none"), scores, strict=True)
        )
        accuracy, recovered = mean_accuracy(task_items(ours.scores), {}), recovery(ours, theirs)
        assert accuracy is not None
        assert recovered is not None
        held += accuracy.low <= 0.45 <= accuracy.high, recovered.low <= 0.9 <= recovered.high
    assert (held / 200 >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 200)).all()
