from __future__ import annotations

import math

import pytest

from flows.state.remaining import Remaining

ENGINES = {"a": "vllm", "b": "vllm", "c": "llama_cpp"}


def test_at_first_it_is_what_was_forecast() -> None:
    assert Remaining({"a": 10.0, "b": 20.0, "c": 30.0}, ENGINES).seconds() == 60


def test_nothing_is_known_of_what_nobody_forecast() -> None:
    assert Remaining({"a": 0.0, "b": 0.0}, ENGINES).seconds() is None
    assert Remaining({}, {}).seconds() == 0


def test_one_slow_cell_moves_the_forecasts_of_its_engine_most() -> None:
    left = Remaining({"a": 10.0, "b": 10.0, "c": 10.0}, ENGINES)
    left.ends("a", 40.0)
    overall = math.log(4) / 2
    same, other = 10 * math.exp((math.log(4) + overall) / 2), 10 * math.exp(overall)
    assert left.seconds() == pytest.approx(same + other)
    assert same > other > 10


def test_many_cells_are_believed() -> None:
    names = [f"cell {number}" for number in range(101)]
    left = Remaining(dict.fromkeys(names, 10.0), dict.fromkeys(names, "vllm"))
    for name in names[:100]:
        left.ends(name, 30.0)
    assert left.seconds() == pytest.approx(30.0, rel=0.02)


def test_the_current_cell_counts_down_and_never_below_nothing() -> None:
    now = 0.0
    left = Remaining({"a": 10.0, "b": 20.0}, ENGINES, clock=lambda: now)
    left.begins("a")
    now = 4.0
    assert left.elapsed() == 4
    assert left.seconds() == 26
    now = 100.0
    assert left.seconds() == 20
    left.ends("a")
    assert left.elapsed() == 0
    assert left.seconds() == 20


def test_failed_cells_teach_nothing() -> None:
    left = Remaining({"a": 10.0, "b": 20.0}, ENGINES)
    left.ends("a", None)
    assert left.seconds() == 20
    assert left.logs == []
