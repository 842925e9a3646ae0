from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from evals.schema.load import LoadPoint, Speed
from evals.schema.slo import SLO, Search, SearchRange
from evals.schema.trial import Trial
from evals.stats.intervals import Estimate
from reports.decision.results import read_results
from reports.metrics.cell import CellMetrics, cell_metrics
from reports.metrics.cost import Price, costs, per_million
from reports.output.html_report import write_report
from reports.output.json_data import as_data
from reports.output.terminal.summary import print_results
from tests.support.made_runs import write_run
from tests.support.made_trials import request, speed, trial

PRICE = {"per_device_hour": 3.6, "currency": "EUR"}


def _cell(made: Trial) -> CellMetrics:
    return cell_metrics(made, None)


def test_a_million_tokens_cost_the_time_that_they_take() -> None:
    """3.6 an hour is a thousandth a second: at 100 tokens/s a million takes 10,000 s."""
    estimate = per_million(Estimate(100.0, 80.0, 125.0, 3), 1, Price(**PRICE))
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((10.0, 8.0, 12.5))
    assert per_million(Estimate(100.0, 80.0, 125.0, 3), 4, Price(**PRICE)).value == pytest.approx(40.0)


def test_a_rate_that_may_be_nothing_may_cost_anything() -> None:
    estimate = per_million(Estimate(100.0, -math.inf, math.inf, 1), 1, Price(**PRICE))
    assert (estimate.low, estimate.high) == (0.0, math.inf)


def test_every_load_point_has_its_cost_and_the_cheapest_is_told() -> None:
    made = replace(trial("none", 10, 2.0, 80), speed=(speed(10, 1), speed(50, 4)))
    (cell_costs,) = costs([_cell(made)], PRICE, None)
    rates = [load.output_rate.value for load in _cell(made).loads]
    assert [load.per_million.value for load in cell_costs.loads] == pytest.approx([1000 / rate for rate in rates])
    assert cell_costs.cheapest == cell_costs.loads[1]
    assert (cell_costs.devices, cell_costs.within_limits) == (1, False)
    assert cell_costs.text.endswith("EUR per million output tokens at concurrency 4")


def test_several_devices_are_all_paid_for() -> None:
    options = {"tensor_parallel": 2, "pipeline_parallel": 1, "data_parallel": 3}
    made = trial("none", 10, 2.0, 80)
    (cell_costs,) = costs([_cell(made)], PRICE, None)
    (six,) = costs([_cell(replace(made, provenance={"engine_options": options}))], PRICE, None)
    assert six.devices == 6
    assert six.loads[0].per_million.value == pytest.approx(6 * cell_costs.loads[0].per_million.value)


def test_of_a_server_that_was_attached_the_devices_are_not_known() -> None:
    made = replace(trial("none", 10, 2.0, 80), provenance={"attached": "http://there", "engine_options": {}})
    assert costs([_cell(made)], PRICE, None) == []


def _many(rate: float, concurrency: int) -> Speed:
    """Two repeats of a hundred requests of 11 tokens at about `rate`, all alike."""
    repeats = []
    for factor in (0.99, 1.01):
        step = 1 / (rate * factor)
        repeats.append(tuple(request(12 * step * n, 12 * step * n + step, step, 11) for n in range(100)))
    return Speed(LoadPoint(concurrency, 100, 10, 11), tuple(repeats))


def test_with_limits_only_loads_that_keep_them_are_compared() -> None:
    """TTFT is a step, 0.1 s at 10 tokens/s, 0.02 s at 50: the cheapest within the limits is the search's."""
    limits = SLO(0.05, None, 90.0)
    within = SearchRange("concurrency", 1, 2, 100, 10, 11)
    made = replace(trial("none", 10, 2.0, 80), speed=(_many(10, 1), _many(25, 4)))
    (cell_costs,) = costs([_cell(made)], PRICE, limits)
    assert cell_costs.cheapest is not None
    assert (cell_costs.cheapest.load.concurrency, cell_costs.within_limits) == (4, True)
    searched = replace(made, searches=(Search(within, limits, (_many(50, 2),), (_many(50, 2),)),))
    (cell_costs,) = costs([_cell(searched)], PRICE, limits)
    assert cell_costs.cheapest is not None
    assert cell_costs.cheapest.load.concurrency == 2
    assert cell_costs.text.endswith("at concurrency 2, within the SLO")
    (cell_costs,) = costs([_cell(made)], PRICE, SLO(0.001, None, 90.0))
    assert (cell_costs.cheapest, cell_costs.text) == (None, "no load meets the SLO")


def test_a_load_of_which_the_slo_is_inconclusive_is_not_said_to_violate_it() -> None:
    """Of four requests the p90 may be anything."""
    made, limits = trial("none", 10, 2.0, 80), SLO(None, 1.0, 90.0)
    (cell_costs,) = costs([_cell(made)], PRICE, limits)
    assert (cell_costs.cheapest, [load.label for load in cell_costs.unsure]) == (None, ["concurrency 1"])
    assert cell_costs.text.startswith("the SLO is inconclusive at concurrency 1. ")
    within = SearchRange("concurrency", 1, 2, 100, 10, 11)
    once = replace(made, speed=(_many(1, 4),), searches=(Search(within, SLO(0.05, None, 90.0), (_many(50, 2),)),))
    (cell_costs,) = costs([_cell(once)], PRICE, SLO(0.05, None, 90.0))
    assert "inconclusive at concurrency 2." in cell_costs.text


def _about(run: Path, **more: Any) -> Path:
    file = run / "sweep.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | more))
    return run


def test_page_console_and_json_show_costs_only_with_a_price(tmp_path: Path) -> None:
    run = write_run(tmp_path, trial("none", 10, 2.0, 80), trial("rtn", 20, 1.0, 78, 2.05))
    assert "What tokens cost" not in write_report(run).read_text()
    assert as_data(read_results(run))["costs"] == []
    _about(run, price=PRICE)
    text = write_report(run).read_text()
    assert "EUR per million output tokens, prompts included: 3.6 EUR per device-hour" in text
    results = read_results(run)
    data = as_data(results)["costs"]
    assert [(cost["name"], cost["currency"]) for cost in data] == [("none · e", "EUR"), ("rtn · e", "EUR")]
    assert data[1]["loads"][0]["per_million"]["value"] == pytest.approx(50, rel=0.01)
    console = Console(record=True, width=200)
    print_results(results, console, verbose=True)
    assert "EUR per million output tokens at concurrency 1" in console.export_text()


def test_a_page_says_that_no_load_keeps_the_limits(tmp_path: Path) -> None:
    """Of four requests nothing is known."""
    run = write_run(tmp_path, replace(trial("none", 10, 2.0, 80), speed=(_many(10, 1),)), trial("rtn", 20, 1.0, 80))
    limits = {"ttft_seconds": 0.001, "tpot_seconds": None, "percentile": 90.0}
    text = write_report(_about(run, price=PRICE, slo=limits)).read_text()
    assert "<em>cheapest</em>: no load meets the SLO" in text
    assert "<em>cheapest</em>: the SLO is inconclusive at concurrency 1." in text
