from __future__ import annotations

from dataclasses import replace

from evals.items import headline, matched, task_items
from evals.record import Score


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
    whole = task_items([_score("a", (0, 1, 2, 3))])["group"]
    first = task_items([_score("a", (0, 1), drawn=4)])["group"]
    assert matched(first, whole) == (0.0, 1.0)
    assert matched(replace(first, drawn=3), whole) is None
    assert matched(replace(first, keys=("a:9:d:p", "a:1:d:p")), whole) is None
    assert matched(replace(first, metric="acc_norm"), whole) is None


def test_the_headline_metric() -> None:
    one = _score("a", (0,))
    assert headline(replace(one, metrics=("acc", "acc_norm"))) == "acc_norm"
    assert headline(replace(one, metrics=("rouge1", "rouge2"))) == "rouge1"
    assert headline(replace(one, metrics=("word_perplexity", "byte_perplexity"))) is None
    assert task_items([replace(one, metrics=("word_perplexity", "bits_per_byte"))]) == {}
