from __future__ import annotations

from dataclasses import replace

import pytest

from evals.schema.accuracy import Score
from evals.stats.paired_items import Matched, asking_order, headline, matched, task_items


def _score(task: str, ranks: tuple[int, ...], drawn: int = 0, clusters: tuple[str, ...] = ()) -> Score:
    keys = tuple(f"{rank}:d:p" for rank in ranks)
    values = tuple((float(rank % 2), float(rank)) for rank in ranks)
    loglikelihoods = tuple((-1.0, -2.0, -3.0, -4.0) for _ in ranks)
    return Score(task, "group", 0, ("acc", "other"), keys, values, loglikelihoods, ranks, drawn, clusters)


def test_leaves_are_merged_in_drawn_order() -> None:
    items = task_items([_score("b", (3, 0), 4), _score("a", (1, 2), 2)])["group"]
    assert items.keys == ("b:0:d:p", "a:1:d:p", "a:2:d:p", "b:3:d:p")
    assert items.values == (0.0, 1.0, 0.0, 1.0)
    assert (items.metric, items.choices, items.drawn, items.binary) == ("acc", (4, 4, 4, 4), 6, True)


def test_passages_belong_to_their_leaf() -> None:
    shared = task_items([_score("a", (0, 1), clusters=("p", "p")), _score("b", (2,), clusters=("p",))])["group"]
    assert shared.clusters == ("a:p", "a:p", "b:p")


def test_a_candidate_is_matched_on_the_items_it_has() -> None:
    full = task_items([_score("a", (0, 1, 2, 3))])["group"]
    first = task_items([_score("a", (0, 1), drawn=4)])["group"]
    keys = ("a:0:d:p", "a:1:d:p")
    assert matched(first, full) == Matched((0.0, 1.0), (0.0, 1.0), ("", ""), (0, 0), (4,), keys)
    assert matched(replace(first, drawn=3), full) is None
    assert matched(replace(first, keys=("a:9:d:p", "a:1:d:p")), full) is None
    assert matched(replace(first, metric="acc_norm"), full) is None


def test_the_headline_metric() -> None:
    score = _score("a", (0,))
    assert headline(replace(score, metrics=("acc", "acc_norm"))) == "acc_norm"
    assert headline(replace(score, metrics=("rouge1", "rouge2"))) == "rouge1"
    assert headline(replace(score, metrics=("word_perplexity", "byte_perplexity"))) is None
    assert task_items([replace(score, metrics=("word_perplexity", "bits_per_byte"))]) == {}


def test_leaves_with_different_accuracies_are_one_task() -> None:
    """As leaderboards average them: each leaf by its own headline."""
    normalized = replace(_score("b", (2, 3)), metrics=("acc", "acc_norm"))
    (items,) = task_items([_score("a", (0, 1)), normalized]).values()
    assert (items.task, items.metric, items.is_accuracy) == ("group", "acc, acc_norm", True)
    assert items.values == (0.0, 1.0, 2.0, 3.0)


def test_other_metrics_of_a_group_are_tasks_of_their_own() -> None:
    """A mean of a share and of a BLEU score would say nothing."""
    translated = replace(_score("b", (2, 3)), metrics=("bleu", "ter"))
    items = task_items([_score("a", (0, 1)), translated])
    assert {name: (each.metric, each.is_accuracy, each.drawn) for name, each in items.items()} == {
        "group": ("acc", True, 2),
        "group (bleu)": ("bleu", False, 2),
    }
    assert [*task_items([translated])] == ["group"]


def _many(values: list[float], first: int = 200) -> Score:
    """Two hundred items in two hundred places, the last ones least decided; of the first so many alone."""
    ranks = tuple(range(first))
    score = _score("a", ranks, 200)
    margins = tuple(1.0 - rank / 200 for rank in ranks)
    return replace(score, values=tuple((value, 0.0) for value in values[:first]), margins=margins)


def test_undecided_items_come_first_and_stand_for_fewer() -> None:
    full = task_items([_many([1.0] * 200)])["group"]
    assert full.strata == (3,) * 50 + (2,) * 50 + (1,) * 50 + (0,) * 50
    order = asking_order(full)
    assert order[0] == 150
    asked = replace(full, keys=tuple(f"a:{rank}:d:p" for rank in order[:60]), values=(1.0,) * 60)
    pairs = matched(asked, full)
    assert pairs is not None
    assert (pairs.sizes, pairs.drawn) == ((50, 50, 50, 50), 200)
    assert pairs.strata[0] == 0
    assert sum(pairs.weights) == pytest.approx(200)
    weights = dict(zip(pairs.strata, pairs.weights, strict=True))
    assert weights[0] < weights[1] < weights[2] < weights[3]
    assert pairs.first(10).strata == pairs.strata[:10]
    assert pairs.first(10).sizes == pairs.sizes


def test_many_passages_and_unknown_leads_make_one_stratum() -> None:
    score = _many([1.0] * 200)
    assert {*task_items([replace(score, margins=())])["group"].strata} == {0}
    assert {*task_items([replace(score, clusters=("p",) * 20 + ("",) * 180)])["group"].strata} == {0}
    few = task_items([replace(score, clusters=("p",) * 2 + ("",) * 198)])["group"]
    assert {*few.strata} == {0, 1, 2, 3}
    assert {*task_items([replace(score, values=((0.5, 0.0),) * 200)])["group"].strata} == {0}
