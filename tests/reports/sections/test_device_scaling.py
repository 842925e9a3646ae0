from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from evals.schema.trial import Trial
from reports.decision.recommend import decide
from reports.decision.results import read_results
from reports.decision.verdicts import Judged
from reports.metrics.cell import CellMetrics, cell_metrics
from reports.output.html_report import write_report
from reports.output.json_data import as_data
from reports.sections.device_scaling import scalings
from tests.support.made_runs import write_run
from tests.support.made_trials import speed, trial


def _on(devices: int, rate: float, method: str = "none", **options: object) -> Trial:
    """Made on so many devices, at two concurrencies."""
    made = trial(method, rate, 2.0, 80)
    engine_options = {"tensor_parallel": devices, "pipeline_parallel": 1, "max_num_seqs": 64, **options}
    return replace(
        made,
        key=f"{made.key}-{sorted(engine_options.items())}",
        provenance={"engine_options": engine_options},
        speed=(speed(rate, 1), speed(4 * rate, 8)),
    )


def _cells(*trials: Trial) -> list[CellMetrics]:
    return [cell_metrics(result, None) for result in trials]


def test_efficiency_is_the_ratio_of_rates_by_devices() -> None:
    results = scalings(_cells(_on(4, 30.0), _on(1, 10.0), _on(2, 18.0)))
    assert [(scaling.devices, scaling.base_devices, scaling.load.concurrency) for scaling in results] == [
        (2, 1, 1),
        (2, 1, 8),
        (4, 1, 1),
        (4, 1, 8),
    ]
    assert [scaling.ratio.value for scaling in results] == pytest.approx([1.8, 1.8, 3.0, 3.0], rel=1e-3)
    assert [scaling.efficiency.value for scaling in results] == pytest.approx([0.9, 0.9, 0.75, 0.75], rel=1e-3)
    assert all(scaling.efficiency.low < scaling.efficiency.value < scaling.efficiency.high for scaling in results)


def test_without_one_device_the_fewest_are_the_base() -> None:
    results = scalings(_cells(_on(2, 10.0), _on(4, 15.0), _on(2, 16.0, pipeline_parallel=4)))
    assert [(scaling.devices, scaling.base_devices) for scaling in results] == [(4, 2), (4, 2), (8, 2), (8, 2)]
    assert results[0].efficiency.value == pytest.approx(0.75, rel=1e-3)
    assert results[2].efficiency.value == pytest.approx(0.4, rel=1e-3)


def test_only_what_differs_in_nothing_else_is_compared() -> None:
    others = [_on(2, 10.0, "rtn"), _on(2, 10.0, max_num_seqs=8), replace(_on(2, 10.0), engine="f")]
    assert scalings(_cells(_on(1, 10.0), *others)) == []
    attached = replace(_on(2, 10.0), provenance={"attached": "http://there", "engine_options": {"tensor_parallel": 2}})
    assert scalings(_cells(_on(1, 10.0), attached)) == []


def test_a_load_that_only_one_size_ran_is_left_out() -> None:
    result = _on(1, 10.0)
    results = scalings(_cells(replace(result, speed=result.speed[:1]), _on(2, 18.0)))
    assert [row.load.concurrency for row in results] == [1]


def test_one_size_has_no_scaling(tmp_path: Path) -> None:
    assert (
        "Scaling over devices</h2>"
        not in write_report(write_run(tmp_path, _on(2, 10.0), _on(2, 20.0, "rtn"))).read_text()
    )


def test_the_page_tells_the_sizes_apart(tmp_path: Path) -> None:
    run = write_run(tmp_path, _on(1, 10.0), _on(2, 18.0))
    text = write_report(run).read_text()
    section = text[text.index("Scaling over devices</h2>") :]
    assert '<th scope="row">none · e tensor_parallel 2</th><td>none · e tensor_parallel 1</td>' in section
    data = as_data(read_results(run))
    assert [row["cell"] for row in data["cells"]] == ["none · e tensor_parallel 1", "none · e tensor_parallel 2"]
    assert data["scaling"][0]["efficiency"]["value"] == pytest.approx(0.9, rel=1e-3)


def test_an_answer_on_more_devices_says_what_each_of_them_gives() -> None:
    judged = [Judged(cell, "baseline", "", kept_with=1.0) for cell in _cells(_on(1, 10.0), _on(4, 30.0))]
    answer = decide(judged)
    assert answer.chosen is judged[1]
    caveat = "it ran on 4 devices and gave 30.0 output tokens/s on each; none · e, on 1, gave 40.0"
    assert caveat in answer.caveats
    better = [Judged(cell, "baseline", "", kept_with=1.0) for cell in _cells(_on(1, 10.0), _on(4, 41.0))]
    assert not any("devices" in caveat for caveat in decide(better).caveats)
    same = [Judged(cell, "baseline", "", kept_with=1.0) for cell in _cells(_on(4, 10.0), _on(4, 30.0, "rtn"))]
    assert not any("devices" in caveat for caveat in decide(same).caveats)
