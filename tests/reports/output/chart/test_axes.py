"""Which axes the frontier chart offers, which it shows first, and what it knows of probabilities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from evals.schema.load import LoadPoint
from evals.schema.trial import Trial
from reports.decision.results import Results, conclude
from reports.output.chart.axes import paired_differences
from reports.output.interactive_data import page_data
from tests.support.made_trials import ABOUT, speed, trial

PRICED = {**ABOUT, "price": {"per_device_hour": 2.0, "currency": "EUR"}}


def _cells() -> list[Trial]:
    return [trial("none", 10, 2.0, 80), trial("rtn", 20, 1.0, 78, 2.01), trial("awq", 15, 1.0, 79, 2.005)]


def _chart(about: dict[str, Any], trials: list[Trial]) -> dict[str, Any]:
    chart: dict[str, Any] = page_data(conclude(about, trials))["chart"]
    return chart


def _without_text(cell: Trial) -> Trial:
    return replace(cell, perplexities=())


def test_axes_are_those_that_some_cell_has_a_figure_on() -> None:
    chart = _chart(PRICED, _cells())
    names = [axis["name"] for axis in chart["x"]]
    assert names[:2] == ["throughput", "latency"]
    assert {"ttft-0-50", "ttft-0-99", "tpot-0-95", "memory", "bits", "cost"} <= {*names}
    assert not {"within", "joules-0", "textRate", "rate-0"} & {*names}  # the one load is the throughput's own
    assert [axis["name"] for axis in chart["y"]] == ["perplexity", "difference", "recovery", "accuracy", "memory"]
    assert next(axis for axis in chart["x"] if axis["name"] == "cost")["label"] == "EUR per million output tokens"


def test_each_load_has_its_own_throughput_and_latencies() -> None:
    opened = replace(speed(5), load=LoadPoint(None, 2, 10, 11, 1.0, "poisson"))
    trials = [replace(cell, speed=(*cell.speed, speed(30, 4), opened)) for cell in _cells()]
    axes = {axis["name"]: axis for axis in _chart(ABOUT, trials)["x"]}
    assert axes["throughput"]["at"] == "concurrency 4"
    assert axes["rate-0"]["label"] == "output tokens/s at concurrency 1"
    assert "rate-1" not in axes
    assert "rate-2" not in axes  # its rate is what was offered
    assert axes["ttft-2-90"]["label"] == "TTFT p90 at 1 requests/s, poisson, ms"
    assert (axes["ttft-2-90"]["load"], axes["ttft-2-90"]["field"], axes["ttft-2-90"]["place"]) == (2, "ttft", 1)


def test_where_all_loads_are_open_nothing_goes_by_what_was_offered() -> None:
    opened = replace(speed(5), load=LoadPoint(None, 2, 10, 11, 1.0, "poisson"))
    chart = _chart(ABOUT, [replace(cell, speed=(opened,)) for cell in _cells()])
    assert chart["first"] == {"x": "latency", "y": "perplexity"}
    assert not {"throughput", "rate-0"} & {axis["name"] for axis in chart["x"]}


def test_log_likelihoods_come_first_as_they_tell_most() -> None:
    assert _chart(ABOUT, _cells())["first"] == {"x": "throughput", "y": "perplexity"}
    assert _chart(ABOUT, [_without_text(cell) for cell in _cells()])["first"]["y"] == "difference"


def test_a_measure_that_fewer_cells_have_is_not_shown_first() -> None:
    none, rtn, awq = _cells()
    assert _chart(ABOUT, [none, _without_text(rtn), _without_text(awq)])["first"]["y"] == "difference"


def test_without_quality_memory_is_shown_and_without_that_nothing() -> None:
    cells = [replace(cell, scores=(), perplexities=()) for cell in _cells()]
    assert _chart(ABOUT, cells)["first"]["y"] == "memory"
    chart = _chart(ABOUT, [replace(cell, memory=None) for cell in cells])
    assert (chart["first"]["y"], chart["x"], chart["odds"]) == ("", [], [])


def test_baselines_alone_differ_in_accuracy() -> None:
    assert (
        _chart(ABOUT, [trial("none", 10, 2.0, 80), trial("none", 9, 2.0, 70, engine="f")])["first"]["y"] == "accuracy"
    )


def test_paired_differences_are_in_points_over_tasks() -> None:
    results = conclude(ABOUT, _cells())
    differences = paired_differences(results)
    assert differences["rtn · e"].value == pytest.approx(-2.0)
    assert differences["rtn · e"].low < -2.0 < differences["rtn · e"].high
    by_name = {cell["name"]: cell["difference"] for cell in page_data(results)["cells"]}
    assert by_name["none · e"] == [0.0, 0.0, 0.0]
    assert by_name["rtn · e"][0] == pytest.approx(-2.0)


@pytest.mark.parametrize("text", [True, False])
def test_probabilities_are_drawn_of_the_first_quality_too(text: bool) -> None:
    results = conclude(PRICED, _cells() if text else [_without_text(cell) for cell in _cells()])
    chart = page_data(results)["chart"]
    pairs = {(drawn["x"], drawn["y"]) for drawn in chart["odds"]}
    y = chart["first"]["y"]
    assert {(x, y) for x in ("throughput", "memory", "latency", "cost")} <= pairs
    assert {(front.plot.x.name, front.plot.y.name) for front in results.frontiers} <= pairs
    assert len(pairs) == len(chart["odds"])
    drawn = next(drawn for drawn in chart["odds"] if (drawn["x"], drawn["y"]) == ("throughput", y))
    assert drawn["cells"] == [0, 1, 2]
    assert drawn["odds"][1] > 0.9  # the fastest by far
    assert all(0 <= odds <= 1 for odds in drawn["odds"])


def test_probabilities_are_the_table_s() -> None:
    results: Results = conclude(PRICED, _cells())
    chart = page_data(results)["chart"]
    for front in results.frontiers:
        drawn = next(d for d in chart["odds"] if (d["x"], d["y"]) == (front.plot.x.name, front.plot.y.name))
        assert drawn["odds"] == pytest.approx([standing.odds for standing in front.standings], abs=1e-4)
