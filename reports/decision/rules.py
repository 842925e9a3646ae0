"""The table of rules, `rules.toml`, and what evaluates it: the page's script does the same in `templates/rules.js`.

What is no comparison of a figure with a number stays code on both sides: quantiles, intervals, probabilities, ratios.
"""

from __future__ import annotations

import operator
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

from evals.stats.intervals import Estimate

Condition = tuple[str, str, str | float]
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}


@dataclass(frozen=True)
class Limit:
    """What a figure must keep; the comments of the table say what its fields mean."""

    key: str
    field: str
    name: str
    of: Literal["cell", "load", "rate"]
    against: Literal["reference", "baseline", "nothing"]
    direction: Literal["at_least", "at_most"]
    unknown: str = ""


@dataclass(frozen=True)
class CaveatRule:
    """What is said, under a `label` of a few words, where all of `when` holds: once, or of `each` entry of a list."""

    key: str
    label: str
    words: str
    when: Sequence[Condition] = ()
    each: str = ""


TABLE: Mapping[str, Any] = tomllib.loads((files("reports.decision") / "rules.toml").read_text(encoding="utf-8"))
THRESHOLDS: Mapping[str, float] = TABLE["thresholds"]
DIGITS: Mapping[str, int] = TABLE["digits"]
WORDS: Mapping[str, str] = TABLE["words"]
LIMITS: Mapping[str, Limit] = {entry["key"]: Limit(**entry) for entry in TABLE["limits"]}
CAVEATS: Sequence[CaveatRule] = tuple(CaveatRule(**entry) for entry in TABLE["caveats"])
BARRED: Sequence[str] = tuple(TABLE["verdicts"]["barred"])


def holds(conditions: Sequence[Condition], figures: Mapping[str, Any]) -> bool:
    """Whether all of them do; a name is that of a figure, or of a threshold."""
    named = {**THRESHOLDS, **figures}
    return all(
        COMPARISONS[comparison](named[figure], named[other] if isinstance(other, str) else other)
        for figure, comparison, other in conditions
    )


def likely(probability: float) -> bool:
    """Whether it is enough to recommend a cell."""
    return holds(TABLE["conditions"]["likely"], {"probability": probability})


def place(order: str, figures: Mapping[str, float]) -> tuple[float, ...]:
    """Where something stands in an order of the table: the least is the best."""
    return tuple(
        -figures[key["figure"]] if key["better"] == "higher" else figures[key["figure"]]
        for key in TABLE["orders"][order]
    )


def verdict_of(direction: str, estimate: Estimate, limit: float) -> Literal["meets", "fails", "inconclusive"]:
    """What an interval says of a limit."""
    rule = TABLE["directions"][direction]
    figures = {"value": estimate.value, "low": estimate.low, "high": estimate.high, "limit": limit}
    if holds(rule["meets"], figures):
        return "meets"
    return "fails" if holds(rule["fails"], figures) else "inconclusive"
