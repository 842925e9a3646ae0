"""Numbers of a plan that are infinite or none: they would pass every limit and stop the page after hours."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flows.plan.source import PlanError, load_plan
from tests.support.bad_plans.changes import GOOD

PLACES = {
    "a price": "price: {currency: USD, per_device_hour: NUMBER}",
    "a limit": "limits:\n  accuracy_recovery: 0.9\n  memory_gib: NUMBER",
    "another limit": "limits: {kl_nats: NUMBER}",
    "an SLO": "slo: {ttft_ms: NUMBER}",
    "a time limit": "time_limits: {request_seconds: NUMBER}",
    "a nested list": "memory:\n  gib:\n  - 8.0\n  - NUMBER",
    "a whole number": "threads: NUMBER",
    "a method's parameter": "methods:\n- {method: none}\n- {method: awq, parameters: {x: [1, {y: NUMBER}]}}",
    "an engine's option": "engines:\n- engine: vllm\n  options:\n    gpu_memory_utilization: [0.5, NUMBER]",
    "a name": "environments: {NUMBER: {python: python3}}",
    "a name of a part": "engines: [{engine: vllm, options: {NUMBER: 1}}]",
}


@pytest.mark.parametrize("number", [".inf", "-.INF", ".NaN", "1.0e+999"])
@pytest.mark.parametrize("place", PLACES)
def test_a_number_without_bound_is_an_error_wherever_it_stands(tmp_path: Path, place: str, number: str) -> None:
    added = PLACES[place].replace("NUMBER", number)
    before = yaml.safe_dump({name: part for name, part in GOOD.items() if name not in yaml.safe_load(added)})
    file = tmp_path / "plan.yaml"
    file.write_text(before + added)
    with pytest.raises(PlanError, match=r"must be a finite number, but it is -?(inf|nan)\n  fix: change") as caught:
        load_plan(file)
    (problem,) = caught.value.problems
    assert number in file.read_text().splitlines()[problem.line - 1]
