from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from flows.plan import forms
from flows.plan.load import LoadPlan
from flows.plan.schema import EnginePlan, MethodPlan, Plan, TaskPlan
from flows.plan.source import PlanError, load_plan
from tests.support.bad_plans.changes import GOOD

LOAD = {"concurrency": 1, "requests": 2, "prompt_tokens": 8, "output_tokens": 4}
GPTQ = {"method": "gptq", "parameters": {"scheme": "W4A16", "group_size": 64}}


def _one_cell(method: object = GPTQ, baseline: object = None, engine: str = "transformers") -> dict[str, object]:
    return forms.one_cell("tiny", method, baseline, {"engine": engine}, [LOAD], [{"task": "arc_easy"}], {})


def test_a_path_stays_what_it_is(tmp_path: Path) -> None:
    assert forms.plan_file("configs/cpu.yaml", tmp_path) == Path("configs/cpu.yaml")


@pytest.mark.parametrize("given", [GOOD, Plan.model_validate(GOOD)])
def test_a_form_becomes_the_same_plan(given: object, tmp_path: Path) -> None:
    file = forms.plan_file(given, tmp_path)
    assert file == tmp_path / "good" / "plan.yaml"
    assert load_plan(file).plan == Plan.model_validate(GOOD)


def test_a_run_is_named_after_its_plan(tmp_path: Path) -> None:
    file = forms.plan_file(GOOD, tmp_path)
    assert [forms.title(form) for form in (GOOD, Plan.model_validate(GOOD), str(file))] == ["good"] * 3
    (tmp_path / "mine.yaml").write_text("name: [")
    named = [forms.title(str(tmp_path / name)) for name in ("mine.yaml", "gone.yaml")]
    assert named == ["mine", "gone"]  # these are refused, with the line, when the run has begun
    assert forms.title(7) == ""


def test_a_workload_keeps_its_name_and_counts(tmp_path: Path) -> None:
    load = LoadPlan.model_validate({"workload": "batch-1"})
    file = forms.plan_file(Plan.model_validate(GOOD | {"load": [load.model_dump(exclude_unset=True)]}), tmp_path)
    assert load_plan(file).plan.load == [load]


def test_an_empty_field_of_a_form_is_not_given(tmp_path: Path) -> None:
    load = {**LOAD, "workload": None, "rate_per_second": None}
    file = forms.plan_file(GOOD | {"slo": None, "load": [load]}, tmp_path)
    assert load_plan(file).plan == Plan.model_validate(GOOD | {"load": [LOAD]})


@pytest.mark.parametrize("name", ["../elsewhere", "", None, 7, "a" * 61])
def test_a_name_that_is_none_leads_nowhere_else(name: object, tmp_path: Path) -> None:
    file = forms.plan_file(GOOD | {"name": name}, tmp_path / "runs")
    assert file == tmp_path / "runs" / "form" / "plan.yaml"
    with pytest.raises(PlanError, match="name"):
        load_plan(file)


@pytest.mark.parametrize("nonsense", [None, 7, ["a"], {}])
def test_what_is_no_plan_is_refused_as_one(nonsense: object, tmp_path: Path) -> None:
    with pytest.raises(
        PlanError, match=r"plan.yaml:1: (the plan is empty, or is not a mapping of keys to values|'name' is missing)"
    ):
        load_plan(forms.plan_file(nonsense, tmp_path))


def test_one_cell_has_its_baseline_beside_it() -> None:
    assert _one_cell()["methods"] == [{"method": "none"}, GPTQ]
    f16 = {"method": "gguf", "parameters": {"scheme": "F16"}}
    assert _one_cell(baseline=f16)["methods"] == [f16, GPTQ]
    assert _one_cell({"method": "none"})["methods"] == [{"method": "none"}]


def test_one_cell_is_named_after_all_that_it_says(tmp_path: Path) -> None:
    first = _one_cell()
    assert str(first["name"]).startswith("gptq-transformers-")
    assert _one_cell()["name"] == first["name"]
    assert _one_cell(engine="vllm")["name"] != first["name"]
    assert load_plan(forms.plan_file(first, tmp_path)).plan.engines == [EnginePlan(engine="transformers")]


def test_parts_are_taken_as_parts_or_as_their_fields() -> None:
    parts = forms.one_cell(
        "tiny",
        MethodPlan.model_validate(GPTQ),
        None,
        EnginePlan(engine="transformers"),
        [LoadPlan(**LOAD)],
        [TaskPlan(task="arc_easy")],
        forms.Conditions(),
    )
    assert parts == _one_cell()


def test_a_quantization_is_a_plan_too(tmp_path: Path) -> None:
    file = forms.plan_file(forms.quantization("tiny", GPTQ, {"samples": 4}, 3), tmp_path)
    plan = load_plan(file).plan
    assert (plan.threads, plan.calibration.samples, [method.method for method in plan.methods]) == (
        3,
        4,
        ["none", "gptq"],
    )
    assert yaml.safe_load(file.read_text())["models"] == ["tiny"]


@pytest.mark.parametrize(
    ("method", "label"),
    [
        (GPTQ, "gptq scheme=W4A16 group_size=64"),
        ({**GPTQ, "name": "mine"}, "mine"),
        ({"parameters": 3}, ""),
        (None, ""),
    ],
)
def test_runs_are_named_after_methods_that_nobody_checked(method: object, label: str) -> None:
    assert forms.label(method) == label


def test_plans_that_are_written_at_the_same_time_are_all_whole(tmp_path: Path) -> None:
    plans = [GOOD | {"seed": seed} for seed in range(400)]
    with ThreadPoolExecutor(16) as pool:
        files = list(pool.map(lambda plan: forms.plan_file(plan, tmp_path), plans))
    assert set(files) == {tmp_path / "good" / "plan.yaml"}
    assert load_plan(files[0]).plan.seed in range(400)
    assert [file.name for file in (tmp_path / "good").iterdir()] == ["plan.yaml"]
