"""Pareto frontiers of cells on two axes, on the values and under uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evals.stats.intervals import Estimate

DOMINATED_BELOW = 0.05  # a cell less likely than so on a frontier that it is not on by values is called dominated


@dataclass(frozen=True)
class Point:
    """A cell on two axes. `x` and `y` are oriented by the caller so that more is better on both."""

    key: str
    name: str
    x: Estimate
    y: Estimate


def frontier(points: Sequence[Point]) -> list[Point]:
    """The points that no other point dominates, by values. Points with a NaN or infinite value are never on it.

    A point dominates another if it is at least as good on both axes and better on one; equal points stay together.
    """
    finite = [point for point in points if math.isfinite(point.x.value) and math.isfinite(point.y.value)]
    return [point for point in finite if not any(_dominates(other, point) for other in finite)]


def _dominates(a: Point, b: Point) -> bool:
    at_least = a.x.value >= b.x.value and a.y.value >= b.y.value
    return at_least and (a.x.value > b.x.value or a.y.value > b.y.value)
