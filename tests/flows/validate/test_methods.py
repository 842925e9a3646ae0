from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flows.plan.samples import sample_plans
from flows.plan.source import PlanError, load_plan
from flows.validate.plan import check
from quant.registry import methods
from tests.support.bad_plans.changes import GOOD


def test_groups_are_of_128_where_a_plan_says_nothing() -> None:
    defaults = {
        name: parameter.default
        for name, method in methods().items()
        for parameter in method.parameters
        if parameter.name == "group_size"
    }
    assert set(defaults.values()) == {128}
    assert {"awq", "gptq", "rtn", "autoround", "openvino"} <= set(defaults)


def test_a_model_that_128_does_not_divide_names_64(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a b c d " * 2000)
    plan = {**GOOD, "models": ["pypi:smollm2-135m-instruct"], "methods": [{"method": "none"}, {"method": "gptq"}]}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    with pytest.raises(
        PlanError, match=r"group_size 128 does not divide the layer width 576 of smollm2.*\n  fix: use 64"
    ):
        check(load_plan(tmp_path / "plan.yaml"))


def test_sample_plans_say_their_group_sizes() -> None:
    """A default that changes must not change what README's tables say."""
    silent = [
        (name, entry.method)
        for name, file in sample_plans().items()
        for entry in load_plan(file).plan.methods
        if entry.parameters.get("scheme", "W4A16") == "W4A16"
        and any(parameter.name == "group_size" for parameter in methods()[entry.method].parameters)
        and "group_size" not in entry.parameters
    ]
    assert silent == []
