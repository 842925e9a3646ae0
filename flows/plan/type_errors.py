"""Values of another type than a plan's key takes: what is wrong and the fix, in the plan's words."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from flows.plan.base import Part
from flows.plan.schema import Plan
from quant.errors import counted


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


def range_at(path: Sequence[str | int]) -> str:
    """The numbers that a plan's value at `path` may be, such as "3 to 100"; empty where its key has no range."""
    names = [place for place, name in enumerate(path) if isinstance(name, str)]
    fields = [
        part.model_fields[str(path[place])]
        for place in names[-1:]
        for part in parts_at(path[:place])
        if path[place] in part.model_fields
    ]
    bounds = [bound for field in fields for bound in (*field.metadata, *_bounds_in(field.annotation))]

    def bound(name: str) -> Any:
        return next((getattr(bound, name) for bound in bounds if getattr(bound, name, None) is not None), None)

    if bound("ge") is not None and bound("le") is not None:
        return f"{bound('ge')} to {bound('le')}"
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    return ", ".join(f"{word} {bound(name)}" for name, word in words.items() if bound(name) is not None)


def _bounds_in(annotation: Any) -> list[Any]:
    """Of the first annotated type in a union."""
    inner = [bound for argument in get_args(annotation) for bound in _bounds_in(argument)]
    return [*getattr(annotation, "metadata", ()), *inner]


def causes(wrong: Sequence[Any]) -> list[Any]:
    """Pydantic's errors without those of keys that are missing only because they are misspelt beside it."""
    unknown = [error["loc"] for error in wrong if error["type"] == "extra_forbidden"]

    def misspelt(path: tuple[str | int, ...]) -> bool:
        beside = [str(other[-1]) for other in unknown if other[:-1] == path[:-1]]
        return bool(difflib.get_close_matches(str(path[-1]), beside))

    return [error for error in wrong if error["type"] != "missing" or not misspelt(error["loc"])]


def explain(kind: str, where: str, given: Any, parts: Sequence[type[Part]] = ()) -> tuple[str, str] | None:
    """What is wrong, and the fix, where pydantic's `kind` of error is one of types; None where it is another.

    `parts` are those that the value should be, or be a list of.
    """
    if given is None:
        return f"'{where}' has no value", "give one, or remove it (`~` and `null` mean no value)"
    if kind == "list_type":
        fix = "begin it with `- `" if isinstance(given, dict) else f"write `[{given}]`"
        return f"'{where}' must be a list, but it is {given!r}", fix
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        if (
            isinstance(given, bool)
            and parts
            and not any(f.is_required() for p in parts for f in p.model_fields.values())
        ):
            fix = f"write `{where.rpartition('.')[2]}: {{}}` for its defaults, or remove it"
            return f"'{where}' must have keys, but it is {given!r}", fix
        fix = "give its keys under it"
        return f"'{where}' must have keys, but it is {given!r}", fix
    if kind == "string_type" and isinstance(given, int | float):
        return f"'{where}' must be a text, but it is {given!r}", "put quotes around it"
    if kind in ("int_type", "float_type") and isinstance(given, str) and _is_number(given):
        return f"'{where}' must be a number, but it is the text {given!r}", f"write {given} without quotes"
    if kind == "int_type" and isinstance(given, float) and given.is_integer():
        return f"'{where}' must be a whole number, but it is {given!r}", f"write {given:.0f}"
    return None


MOST_OF_A_SHARE = 1.5  # the largest limit of a key that is a share, `accuracy_recovery`
WORDS = {
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be a text",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "string_too_short": "must have at least {characters}",
    "string_too_long": "must have at most {characters}",
    "too_short": "must have at least {entries}",
    "too_long": "must have at most {entries}",
}


def worded(error: Mapping[str, Any], where: str) -> str:
    """What is wrong with a value of the right type, in the plan's words; in pydantic's, where its kind is new."""
    words, context = WORDS.get(error["type"]), error.get("ctx", {})
    given: Any = context["actual_length"] if error["type"] in ("too_short", "too_long") else error.get("input")
    if words is None:
        return f"{where}: {error['msg'][:1].lower()}{error['msg'][1:]}, but it is {given!r}"
    verb = "has" if "actual_length" in context else "is"
    limit = context.get("min_length", context.get("max_length", 0))
    sizes = {"entries": counted(limit, "entry", "entries"), "characters": counted(limit, "character")}
    most = context.get("lt", context.get("le"))
    is_share = isinstance(most, float) and most <= MOST_OF_A_SHARE
    percent = f" ({given:g} % is {given / 100:g})" if is_share and 1 <= given <= 100 else ""
    return f"'{where}' {words.format(**context, **sizes)}, but it {verb} {given!r}{percent}"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
