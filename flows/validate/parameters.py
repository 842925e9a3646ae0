"""A method's parameters or an engine's options, as a plan gives them, against what its function declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from flows.plan.source import PlanFile, Problem, dotted, lower_first, suggestion
from quant.registry import Parameter
from quant.types import Range


@cache
def _schema(parameters: tuple[Parameter, ...]) -> type[BaseModel]:
    """A strict pydantic model of a method's parameters or an engine's options."""
    fields: dict[str, Any] = {}
    for parameter in parameters:
        annotation: Any = parameter.annotation
        limits: dict[str, Any] = {}
        if get_origin(annotation) is Annotated:
            base, *extra = get_args(annotation)
            annotation = base
            for limit in extra:
                if isinstance(limit, Range):
                    limits = {"ge": limit.minimum, "le": limit.maximum}
        fields[parameter.name] = (annotation, Field(... if parameter.required else parameter.default, **limits))
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
        return _schema(tuple(parameters)).model_validate(dict(given)).model_dump()
    except ValidationError as error:
        for problem in error.errors():
            path = (*where, *problem["loc"])
            name = str(problem["loc"][0]) if problem["loc"] else ""
            if problem["type"] == "extra_forbidden":
                message, fix = f"'{owner}' has no parameter '{name}'", suggestion(name, [p.name for p in parameters])
            elif problem["type"] == "missing":
                message, fix = f"'{owner}' needs the parameter '{name}'", f"add `{name}:` under parameters"
            else:
                message = f"{dotted(path)}: {lower_first(problem['msg'])}, but it is {problem['input']!r}"
                fix = f"see `bitfrontier {where[0]} {owner}` for what '{name}' may be"
            problems.append(parsed.problem(path, message, fix))
        return None
