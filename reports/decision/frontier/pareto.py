"""Pareto frontiers of cells on two axes, on the values and under uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evals.stats.intervals import Estimate, Floats


@dataclass(frozen=True)
class Point:
    """A cell on two axes. `x` and `y` are oriented by the caller so that more is better on both."""

    key: str
    name: str
    x: Estimate
    y: Estimate


def frontier(points: Sequence[Point]) -> list[Point]:
    """The points that no other point dominates, by values. Points with a NaN or infinite value are never on it."""
    finite = [point for point in points if math.isfinite(point.x.value) and math.isfinite(point.y.value)]
    x, y = np.array([[point.x.value, point.y.value] for point in finite]).reshape(-1, 2).T
    return [point for point, on in zip(finite, undominated(x[None], y[None])[0], strict=True) if on]


def undominated(x: Floats, y: Floats) -> npt.NDArray[np.bool_]:
    """Of each row of (draws, cells), in n log n, which of its cells no other dominates; all values are numbers or −∞.

    A cell dominates another if it is at least as good on both axes and better on one; equal ones stay together.
    """
    order = np.argsort(-x, axis=-1)  # best x first
    xs = np.take_along_axis(x, order, -1)
    if (xs[:, 1:] == xs[:, :-1]).any():
        order = np.lexsort((-y, -x), axis=-1)  # of equal ones best y; takes five times as long
        xs = np.take_along_axis(x, order, -1)
    ys = np.take_along_axis(y, order, -1)
    highest = np.maximum.accumulate(ys, axis=-1)
    before = np.concatenate([np.full((len(ys), 1), -np.inf), highest[:, :-1]], axis=-1)
    places = np.where(ys > before, np.arange(ys.shape[1]), 0)
    # where the highest y so far was reached first, with the best x of those that have it
    first_x = np.take_along_axis(xs, np.maximum.accumulate(places, axis=-1), -1)
    on = (ys > before) | ((ys == before) & (first_x == xs))
    result: npt.NDArray[np.bool_] = np.empty_like(on)
    np.put_along_axis(result, order, on, -1)
    return result
