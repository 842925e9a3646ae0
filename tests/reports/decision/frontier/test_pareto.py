from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.stats.intervals import exact
from reports.decision.frontier.pareto import Point, frontier

VALUES = st.sampled_from([0.0, -0.0, 1.0, 2.0, 3.5, -1.0, math.nan, math.inf])


def _point(index: int, x: float, y: float) -> Point:
    return Point(str(index), str(index), exact(x), exact(y))


def _brute_force(points: list[Point]) -> set[str]:
    """By definition, written another way: drop what some other finite point beats."""
    finite = [p for p in points if math.isfinite(p.x.value + p.y.value)]
    remaining = {p.key for p in finite}
    for a, b in itertools.permutations(finite, 2):
        (ax, ay), (bx, by) = (a.x.value, a.y.value), (b.x.value, b.y.value)
        if (ax > bx and ay >= by) or (ax >= bx and ay > by):
            remaining.discard(b.key)
    return remaining


@given(st.lists(st.tuples(VALUES, VALUES), max_size=8))
def test_frontier_equals_brute_force(pairs: list[tuple[float, float]]) -> None:
    points = [_point(i, x, y) for i, (x, y) in enumerate(pairs)]
    assert {p.key for p in frontier(points)} == _brute_force(points)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], set()),
        ([(1, 1)], {"0"}),
        ([(1, 1), (1, 1)], {"0", "1"}),
        ([(1, 2), (2, 1), (1, 1)], {"0", "1"}),
        ([(0, 5), (5, 0), (0, 0)], {"0", "1"}),
        ([(math.nan, 9), (1, 1)], {"1"}),
        ([(1, 2), (1, 3)], {"1"}),
    ],
)
def test_special_cases(pairs: list[tuple[float, float]], expected: set[str]) -> None:
    assert {p.key for p in frontier([_point(i, x, y) for i, (x, y) in enumerate(pairs)])} == expected
