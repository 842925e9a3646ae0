"""Servers of known capacity: which of them keep up with a load."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evals.metrics.saturation import keeps_up, queue_growth
from evals.schema.load import LoadPoint, Request, Speed
from reports.metrics.load import load_metrics
from tests.support.queues import queued


def _share_that_keeps_up(load: float, loads: int = 60) -> float:
    generator = np.random.default_rng(0)
    return sum(keeps_up(queued(generator, load)) for _ in range(loads)) / loads


@pytest.mark.parametrize(("load", "least", "most"), [(0.5, 0.95, 1.0), (0.9, 0.93, 1.0), (1.1, 0.0, 0.1)])
def test_a_tenth_too_many_arrivals_are_seen(load: float, least: float, most: float) -> None:
    """By the growth of the number in flight over half of the load, three in four such overloads kept up."""
    assert least <= _share_that_keeps_up(load) <= most


def test_the_growth_is_what_comes_too_much() -> None:
    """At 1.25 times the capacity one of five that are due stays in the queue."""
    generator = np.random.default_rng(1)
    growth = queue_growth(queued(generator, 1.25, requests=2000))
    assert growth is not None
    assert growth.value == pytest.approx(0.2, abs=0.02)
    assert growth.low < 0.2 < growth.high


def test_an_overloaded_trace_is_told_and_a_sound_one_is_not() -> None:
    generator = np.random.default_rng(2)
    over, sound = queued(generator, 1.3), queued(generator, 0.6)
    assert any("saturated" in warning for warning in load_metrics(over).warnings)
    assert not any("saturated" in warning for warning in load_metrics(sound).warnings)
    recorded = replace(over.load, arrivals="trace", trace="t.jsonl")
    assert not keeps_up(replace(over, load=recorded))


def test_a_closed_loop_has_no_queue() -> None:
    request = Request(0.0, ((0.5, 1), (1.0, 2)), 1.0, 16, 2)
    assert queue_growth(Speed(LoadPoint(4, 1, 16, 2), ((request,),))) is None


def test_long_answers_that_all_run_at_once_are_no_growth() -> None:
    """Each takes a third of the load: it fills the server first."""
    requests = tuple(
        Request(0.1 * n, ((0.1 * n + 1, 1), (0.1 * n + 4, 2)), 0.1 * n + 4, 16, 2, None, 0.1 * n) for n in range(120)
    )
    assert keeps_up(Speed(LoadPoint(None, 120, 16, 2, 10.0, "constant"), (requests,)))
