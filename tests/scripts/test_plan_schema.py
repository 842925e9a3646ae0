"""configs/plan.schema.json: what editors say of a plan is what `bitfrontier plan` says of its shape."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from engines.runtime.own_packages import ROOT
from flows.plan.samples import SCHEMA_FILE, sample_plans
from flows.plan.schema import Plan
from flows.plan.yaml_reader import plan_yaml
from scripts.plan_schema import FILE, KEYS, plan_schema, text
from tests.support.bad_plans.all_kinds import BAD
from tests.support.bad_plans.changes import GOOD

SCHEMA = json.loads(FILE.read_text(encoding="utf-8"))
PLANS = [*sample_plans().values(), ROOT / ".ci" / "plan.yaml"]


def _says(plan: object) -> list[str]:
    return [error.message for error in Draft202012Validator(SCHEMA).iter_errors(plan)]


def _structural() -> dict[str, dict[str, Any]]:
    """The bad plans whose shape is wrong: a key, a type, a range; not how keys go together, nor what they name."""
    plans = {}
    for name, (change, _, _) in BAD.items():
        plan = copy.deepcopy(GOOD)
        change(plan)
        try:
            Plan.model_validate(plan)
        except ValidationError as error:
            if any(detail["type"] != "value_error" for detail in error.errors()):
                plans[name] = plan
    return plans


STRUCTURAL = _structural()


def test_it_is_written() -> None:
    assert FILE.read_text(encoding="utf-8") == text(), "run `python -m scripts.plan_schema`"
    Draft202012Validator.check_schema(SCHEMA)


def test_every_key_has_its_sentence_and_every_sentence_its_key() -> None:
    schema = Plan.model_json_schema()
    keys = {name: set(part["properties"]) for name, part in {"Plan": schema, **schema["$defs"]}.items()}
    sentences = yaml.safe_load(KEYS.read_text(encoding="utf-8"))
    assert {name: set(keys_of) for name, keys_of in sentences.items()} == keys
    assert [text for part in sentences.values() for text in part.values() if len(text.split()) > 25] == []


@pytest.mark.parametrize("file", PLANS, ids=lambda file: file.stem)
def test_our_plans_are_valid_and_name_it(file: Path) -> None:
    first = file.read_text(encoding="utf-8").splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert (file.parent / named).resolve() == FILE
    assert _says(plan_yaml().load(file.read_text(encoding="utf-8"))) == []


def test_a_text_stands_for_the_key_that_matters() -> None:
    short = {"methods": ["none", "fp8"], "engines": ["vllm"], "tasks": ["arc_easy"], "slo": "llama-3.1-8b"}
    assert _says({**GOOD, **short, "load": ["batch-1"], "perplexity": ["papers"], "race": {}}) == []
    assert _says({**GOOD, "load": ["no-such-workload"]}) != []
    assert _says({**GOOD, "threads": "auto"}) == _says({**GOOD, "threads": 8}) == []
    assert _says({**GOOD, "threads": "many"}) != []


def test_a_plug_ins_method_is_no_mistake_and_a_parameter_that_none_has_is() -> None:
    assert _says({**GOOD, "methods": ["none", {"method": "theirs", "parameters": {"any": 1}}]}) == []
    assert _says({**GOOD, "methods": ["none", {"method": "gptq", "parameters": {"group_size": 64}}]}) == []
    assert _says({**GOOD, "methods": ["none", {"method": "gptq", "parameters": {"group_sise": 64}}]}) != []
    assert _says({**GOOD, "engines": [{"engine": "vllm", "options": {"tensor_parallel": [1, 2]}}]}) == []
    assert _says({**GOOD, "engines": [{"engine": "vllm", "options": {"tensor_parallel": 0}}]}) != []


def test_it_knows_bad_plans() -> None:
    assert len(STRUCTURAL) > 20


@pytest.mark.parametrize("name", STRUCTURAL)
def test_a_plan_of_another_shape_is_refused(name: str) -> None:
    assert _says(STRUCTURAL[name]) != []


def test_the_schema_is_copied_beside_plans() -> None:
    assert FILE.name == SCHEMA_FILE
    assert plan_schema()["properties"].keys() == Plan.model_fields.keys()
