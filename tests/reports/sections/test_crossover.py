"""Who is fastest where: crossings by hand, their intervals by how much repeats differ."""

from __future__ import annotations

import dataclasses
import math

import pytest

from reports.metrics.cell import CellMetrics, cell_metrics
from reports.sections.crossover import crossings, fastest
from tests.support.made_trials import speed, trial


def _cell(name: str, rates: dict[int, float], wobble: float = 0.001) -> CellMetrics:
    loads = tuple(speed(rate, concurrency, wobble) for concurrency, rate in rates.items())
    return cell_metrics(dataclasses.replace(trial(name, 10, 1.0, 80), speed=loads), None)


def _rate(cell: CellMetrics, place: int) -> float:
    return cell.loads[place].output_rate.value


def test_a_crossing_lies_where_the_ratio_is_one() -> None:
    a, b = _cell("a", {1: 20.0, 4: 40.0}), _cell("b", {1: 10.0, 4: 80.0})
    (crossing,) = crossings([a, b])
    low, high = (math.log(_rate(a, place) / _rate(b, place)) for place in (0, 1))
    assert (crossing.first, crossing.then, crossing.shape) == ("a · e", "b · e", (10, 11))
    assert crossing.concurrency.value == pytest.approx(4 ** (low / (low - high)))
    assert 1 < crossing.concurrency.low < crossing.concurrency.value < crossing.concurrency.high < 4


def test_the_order_of_cells_does_not_matter() -> None:
    a, b = _cell("a", {1: 20.0, 4: 40.0}), _cell("b", {1: 10.0, 4: 80.0})
    (crossing,), (other,) = crossings([a, b]), crossings([b, a])
    assert (crossing.first, crossing.then) == (other.first, other.then)
    assert crossing.concurrency.value == pytest.approx(other.concurrency.value)


def test_noise_widens_the_interval_to_beyond_what_was_measured() -> None:
    cells = [_cell("a", {1: 20.0, 4: 40.0}, 0.2), _cell("b", {1: 19.0, 4: 44.0}, 0.2)]
    (crossing,) = crossings(cells)
    assert crossing.concurrency.low == 0.0
    assert crossing.concurrency.high == math.inf


def test_cells_that_never_or_always_change_places_have_none() -> None:
    assert crossings([_cell("a", {1: 20.0, 4: 40.0}), _cell("b", {1: 10.0, 4: 30.0})]) == []
    assert crossings([_cell("a", {1: 2.0, 2: 1.0, 4: 2.0}), _cell("b", {1: 1.0, 2: 2.0, 4: 1.0})]) == []
    assert crossings([_cell("a", {1: 2.0}), _cell("b", {1: 1.0})]) == []


def test_the_fastest_at_each_concurrency_and_who_is_near() -> None:
    cells = [_cell("a", {1: 20.0, 4: 40.0}), _cell("b", {1: 10.0, 4: 80.0}), _cell("c", {4: 79.99}, 0.05)]
    winner, four = fastest(cells)
    assert (winner.concurrency, winner.name, winner.near) == (1, "a · e", ())
    assert (four.concurrency, four.name, four.near) == (4, "b · e", ("c · e",))
    assert fastest(cells[:1]) == []
