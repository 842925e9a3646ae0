"""A method's parameters or an engine's options, as a plan gives them, against what its function declares."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from flows.plan.source import PlanFile, Problem, dotted, suggestion
from flows.plan.type_errors import explain, worded
from quant.errors import program
from quant.registry import Parameter
from quant.types import Range


def _with_limits(annotation: Any) -> Any:
    """The type with its `Range`, also inside `… | None`, as pydantic knows limits."""
    if get_origin(annotation) in (Union, UnionType):
        return Union[tuple(map(_with_limits, get_args(annotation)))]  # noqa: UP007 (of types that are known now alone)
    if get_origin(annotation) is not Annotated:
        return annotation
    base, *extra = get_args(annotation)
    for limit in extra:
        if isinstance(limit, Range):
            base = Annotated[base, Field(ge=limit.minimum, le=limit.maximum)]
    return base


@cache
def parameters_model(parameters: tuple[Parameter, ...]) -> type[BaseModel]:
    """A strict pydantic model of a method's parameters or an engine's options."""
    fields: dict[str, Any] = {}
    for parameter in parameters:
        default = ... if parameter.required else parameter.default
        fields[parameter.name] = (_with_limits(parameter.annotation), Field(default))
    return create_model("Parameters", __config__=ConfigDict(extra="forbid", strict=True), **fields)


def fill(
    parsed: PlanFile,
    parameters: Sequence[Parameter],
    given: Mapping[str, Any],
    where: tuple[str | int, ...],
    owner: str,
    problems: list[Problem],
) -> dict[str, Any] | None:
    """All parameters with defaults, or None after adding what is wrong to `problems`."""
    try:
        filled = parameters_model(tuple(parameters)).model_validate(dict(given)).model_dump()
        paths = [p.name for p in parameters if p.program and os.sep in str(filled[p.name])]
        return filled | {name: str(Path(filled[name]).absolute()) for name in paths}  # for other working directories
    except ValidationError as error:
        for problem in error.errors():
            path = (*where, *problem["loc"])
            name = str(problem["loc"][0]) if problem["loc"] else ""
            if problem["type"] == "extra_forbidden":
                message, fix = f"'{owner}' has no parameter '{name}'", suggestion(name, [p.name for p in parameters])
            elif problem["type"] == "missing":
                message, fix = f"'{owner}' needs the parameter '{name}'", f"add `{name}:` under parameters"
            elif explained := explain(problem["type"], dotted(path), problem["input"]):
                message, fix = explained
            else:
                message = worded(problem, dotted(path))
                fix = f"see `{program()} {where[0]} {owner}` for what '{name}' may be"
            problems.append(parsed.problem(path, message, fix))
        return None
