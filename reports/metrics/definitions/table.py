"""What each figure is: the one table of which page, results.csv's description and the reference are made."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Definition:
    """One figure. `better` is "higher", "lower", or empty where it has no good side; `source` says of what it is
    computed and whose convention that is. `columns` and `axes` are patterns of the names that carry it.
    """

    name: str
    section: str
    label: str
    formula: str
    source: str
    unit: str = ""
    better: str = ""
    columns: Sequence[str] = ()
    axes: Sequence[str] = ()

    @property
    def sense(self) -> str:
        """Its unit, and which way is better, in words; empty where it has neither."""
        parts = [f"Unit: {self.unit}"] * bool(self.unit) + [f"{self.better} is better"] * bool(self.better)
        text = "; ".join(parts)
        return f"{text[0].upper()}{text[1:]}." if text else ""


@functools.cache
def definitions() -> Mapping[str, Definition]:
    """By name, in the order of the table."""
    text = (files("reports.metrics.definitions") / "metrics.toml").read_text(encoding="utf-8")
    sections: dict[str, dict[str, dict[str, Any]]] = tomllib.loads(text)
    entries = [(section, name, entry) for section, named in sections.items() for name, entry in named.items()]
    return {name: Definition(name=name, section=section, **entry) for section, name, entry in entries}


def of_column(column: str) -> Definition | None:
    """What a column of the results table holds; of the end of an interval, the figure that it is of. None: unknown."""
    figure = column.removesuffix("_low").removesuffix("_high")
    return next((d for d in definitions().values() if any(fnmatchcase(figure, p) for p in d.columns)), None)


def of_axis(axis: str) -> Definition | None:
    """What an axis of a chart shows, by the axis's name."""
    return next((d for d in definitions().values() if any(fnmatchcase(axis, p) for p in d.axes)), None)
