"""Values of another type than a plan's key takes: what is wrong and the fix, in the plan's words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, get_args

from flows.plan.base import Part
from flows.plan.schema import Plan


def parts_at(path: Sequence[str | int]) -> list[type[Part]]:
    """The parts that a plan's value at `path` is, or is a list of; none where it is another value."""
    parts: list[type[Part]] = [Plan]
    for name in path:
        if isinstance(name, str):
            fields = [part.model_fields[name] for part in parts if name in part.model_fields]
            parts = [part for field in fields for part in _parts_in(field.annotation)]
    return parts


def _parts_in(annotation: Any) -> list[type[Part]]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return [annotation]
    return [part for argument in get_args(annotation) for part in _parts_in(argument)]


def explain(kind: str, where: str, given: Any, parts: Sequence[type[Part]] = ()) -> tuple[str, str] | None:
    """What is wrong, and the fix, where pydantic's `kind` of error is one of types; None where it is another.

    `parts` are those that the value should be, or be a list of.
    """
    if given is None:
        return f"'{where}' has no value", "give one, or remove it (`~` and `null` are no value)"
    if kind == "list_type":
        fix = "begin it with `- `" if isinstance(given, dict) else f"write `[{_as_part(given, parts)}]`"
        return f"'{where}' must be a list, but it is {given!r}", fix
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        short = _as_part(given, parts)
        fix = f"write `{short}`" if short != str(given) else "give its keys under it"
        return f"'{where}' must have keys, but it is {given!r}", fix
    if kind == "string_type" and isinstance(given, int | float):
        return f"'{where}' must be a text, but it is {given!r}", "put quotes around it"
    if kind in ("int_type", "float_type") and isinstance(given, str) and _is_number(given):
        return f"'{where}' must be a number, but it is the text {given!r}", f"write {given} without quotes"
    if kind == "int_type" and isinstance(given, float) and given.is_integer():
        return f"'{where}' must be a whole number, but it is {given!r}", f"write {given:.0f}"
    return None


def _as_part(given: Any, parts: Sequence[type[Part]]) -> str:
    """A text with the key that it is meant for, as YAML; other values as they are."""
    fields = [(name, field.annotation) for part in parts for name, field in part.model_fields.items()]
    key = next((name for name, annotation in fields if _takes_text(annotation)), None)
    return f"{{{key}: {given}}}" if isinstance(given, str) and key else str(given)


def _takes_text(annotation: Any) -> bool:
    inner = get_args(annotation)
    return annotation is str or any(isinstance(argument, str) or _takes_text(argument) for argument in inner)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
