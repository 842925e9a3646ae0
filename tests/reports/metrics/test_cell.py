"""Every definition, worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from evals.schema.accuracy import Perplexity, Score
from evals.schema.load import LoadPoint, Request, Speed
from reports.decision.verdicts import Limits, judge
from reports.metrics.cell import cell_metrics
from reports.metrics.load import load_metrics
from tests.support.made_trials import request, score, speed, trial


def test_latencies_by_hand() -> None:
    record = Request(1.0, ((1.5, 1), (1.7, 3), (2.1, 4)), 2.1, 10, 4)
    latency = load_metrics(Speed(LoadPoint(1, 1, 10, 4), ((record,), (record,)))).latency
    assert latency.ttft[0].value == pytest.approx(0.5)
    assert latency.tpot[0].value == pytest.approx((2.1 - 1.5) / 3)
    assert latency.e2e[0].value == pytest.approx(1.1)
    assert latency.itl[2].value == pytest.approx(0.4, abs=0.01)  # gaps 0.2 over two tokens and 0.4 over one


def test_rates_leave_out_the_drain() -> None:
    """Two at a time, three requests: when the second has ended, only one is left in flight."""
    a, b, c = request(0.0, 1.0, 1.0, 4), request(0.0, 1.0, 1.0, 4), request(4.0, 5.0, 1.0, 4)
    load = load_metrics(Speed(LoadPoint(2, 3, 10, 4), ((a, b, c), (a, b, c))))
    assert load.output_rate.value == pytest.approx(8 / 4)
    assert load.request_rate.value == pytest.approx(2 / 4)
    assert load.total_rate.value == pytest.approx((8 + 20) / 4)


def test_a_single_stream_counts_all() -> None:
    a, b = request(0.0, 1.0, 1.0, 4), request(4.0, 5.0, 1.0, 4)
    assert load_metrics(Speed(LoadPoint(1, 2, 10, 4), ((a, b), (a, b)))).output_rate.value == pytest.approx(1.0)


def test_accuracy_pools_a_groups_items() -> None:
    base = trial("none", 10, 1, 50)
    parts = tuple(Score(f"mmlu_{i}", "mmlu", 0, ("acc",), ("0:a:b",), ((float(i == 0),),), ((0.0,),)) for i in range(4))
    cell = cell_metrics(type(base)(**{**base.__dict__, "scores": (*base.scores, *parts)}), None)
    by_task = {task.task: task.estimate for task in cell.tasks}
    assert by_task["mmlu"].value == 0.25
    assert by_task["mmlu"].count == 4
    assert cell.accuracy is not None
    assert cell.accuracy.value == pytest.approx((0.5 + 0.25) / 2)


def test_the_normalised_accuracy_is_the_headline() -> None:
    base = trial("none", 10, 1, 50)
    both = Score("hs", "hs", 0, ("acc", "acc_norm"), ("0:a:b", "1:a:b"), ((0.0, 1.0), (0.0, 1.0)), ((0.0,), (0.0,)))
    cell = cell_metrics(type(base)(**{**base.__dict__, "scores": (both,)}), None)
    assert cell.tasks[0].estimate.value == 1.0


def test_perplexities_by_hand() -> None:
    base = trial("none", 10, 1, 50)
    lambada = Score(
        "lambada_openai",
        "lambada_openai",
        0,
        ("perplexity", "acc"),
        ("0:a:b", "1:a:b"),
        ((-1.0, 1.0), (-3.0, 0.0)),
        ((-1.0,), (-3.0,)),
    )
    words = Score(
        "wikitext",
        "wikitext",
        0,
        ("word_perplexity", "byte_perplexity"),
        ("0:a:b", "1:a:b"),
        ((2.0, 10.0), (3.0, 20.0)),
        ((-8.0,), (-7.0,)),
    )
    text = Perplexity("papers", "t", 5, 5, ((-1.0,) * 4, (-3.0,) * 4))
    changed = {**base.__dict__, "scores": (lambada, words), "perplexities": (text,)}
    values = {task.metric: task.estimate.value for task in cell_metrics(type(base)(**changed), None).tasks}
    assert values["perplexity of the last word"] == pytest.approx(math.exp(2))
    assert values["accuracy"] == 0.5
    assert values["word perplexity"] == pytest.approx(math.exp(15 / 5))
    assert values["bits per byte"] == pytest.approx(15 / 30 / math.log(2))
    assert values["perplexity (papers, 5)"] == pytest.approx(math.exp((1 + 3) / 2))


def test_ratio_and_recovery_are_against_the_same_items() -> None:
    base, cell = trial("none", 10, 1, 80, loss=2.0), trial("rtn", 10, 1, 40, loss=2.1)
    metrics = cell_metrics(cell, base)
    assert metrics.recovery is not None
    assert metrics.recovery.value == pytest.approx(0.5)
    assert metrics.perplexity_ratio is not None
    assert metrics.perplexity_ratio.value == pytest.approx(math.exp(0.1), rel=1e-3)
    assert metrics.perplexity_ratio.high - metrics.perplexity_ratio.low < 1e-3  # nearly the same difference everywhere


@pytest.mark.parametrize(("right", "comparable"), [(0, False), (1, False), (3, False), (4, True), (80, True)])
def test_a_baseline_with_nothing_right_is_nothing_to_divide_by(right: int, comparable: bool) -> None:
    """Without an answer that is right it was "inf [0, 750000000000]", and the cell was recommended."""
    base, cell = trial("none", 10, 1, right), trial("rtn", 20, 1, 40, 2.05)
    metrics = cell_metrics(cell, base)
    assert (metrics.recovery is not None) == comparable
    assert metrics.recovery is None or metrics.recovery.high < 1e6
    assert metrics.nothing_recovered != comparable
    judged = judge(metrics, Limits(0.3, 1.1))
    assert ("not comparable: the baseline answers next to nothing right" in judged.why) != comparable
    assert judged.verdict == ("meets" if right == 80 else "inconclusive")  # of few right ones a ratio is known badly


def test_few_items_that_are_all_right_are_something_to_divide_by() -> None:
    base, cell = (replace(trial(method, 10, 1, 0), scores=(score("arc", [1.0, 1.0]),)) for method in ("none", "rtn"))
    assert cell_metrics(cell, base).recovery is not None


def test_other_items_are_not_compared() -> None:
    base, cell = trial("none", 10, 1, 80), trial("rtn", 10, 1, 40)
    other = score("arc", [1.0] * 99)
    assert cell_metrics(type(cell)(**{**cell.__dict__, "scores": (other,)}), base).recovery is None


def test_the_calmest_load_is_a_closed_one_where_there_is_one() -> None:
    result = trial("none", 10, 2.0, 80)
    slow = replace(speed(5), load=LoadPoint(None, 2, 10, 11, 0.5, "poisson"))
    both = cell_metrics(replace(result, speed=(slow, speed(20, 4), speed(10))), None)
    assert (both.calmest.load.concurrency, both.busiest.load.concurrency) == (1, 4)
    alone = cell_metrics(replace(result, speed=(slow,)), None)
    assert alone.calmest.load.rate_per_second == alone.busiest.load.rate_per_second == 0.5


def test_a_server_of_which_nothing_was_seen_has_no_peak() -> None:
    assert cell_metrics(trial("none", 10, 0.0, 80), None).peak_bytes is None
    assert cell_metrics(trial("none", 10, 2.0, 80), None).peak_bytes == 2 * 1024**3
