"""All rates of a load are sums over the same shares of its requests."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics.throughput import share_by, steady_rates
from evals.schema.load import LoadPoint, Request, Speed
from evals.schema.slo import SLO
from reports.metrics.load import load_metrics
from reports.metrics.slo_capacity import waiting


def _request(sent: float, seconds: float, tokens: int, chunk: int = 1) -> Request:
    """The first tokens come after a fifth of the time."""
    counts = [*range(chunk, tokens, chunk), tokens]
    step = 0.8 * seconds / max(len(counts) - 1, 1)
    first = sent + (0.2 * seconds if len(counts) > 1 else seconds)
    chunks = tuple((first + step * place, count) for place, count in enumerate(counts))
    return Request(sent, chunks, chunks[-1][0], 32, tokens)


def _loop(users: int, waves: int, seconds: Sequence[float], tokens: int, chunk: int = 1) -> tuple[Request, ...]:
    """Each user sends the next request when the last one ended; every answer has the same length."""
    requests = []
    for user in range(users):
        at = 0.001 * user
        for wave in range(waves):
            requests.append(_request(at, seconds[(user + wave) % len(seconds)], tokens, chunk))
            at = requests[-1].end_seconds
    return tuple(requests)


def test_four_users_of_the_quick_start() -> None:
    """4 users, 8 requests of 16 tokens, answers of unequal speed: whole requests by the first end of the last wave are
    a few, the work of all is more.
    """
    repeat = _loop(4, 2, (1.0, 1.4, 1.9, 2.6), 16)
    load = load_metrics(Speed(LoadPoint(4, 8, 32, 16), (repeat, repeat)))
    assert load.request_rate.value == pytest.approx(load.output_rate.value / 16)
    assert load.total_rate.value == pytest.approx(load.request_rate.value * (32 + 16))


@given(
    users=st.integers(1, 16),
    waves=st.integers(1, 5),
    tokens=st.integers(1, 40),
    chunk=st.integers(1, 50),
    seconds=st.lists(st.floats(0.05, 20.0), min_size=1, max_size=5),
)
def test_equal_answers_have_rates_in_proportion(
    users: int, waves: int, tokens: int, chunk: int, seconds: list[float]
) -> None:
    output, prompt, requests = steady_rates(_loop(users, waves, seconds, tokens, chunk))
    assert requests * tokens == pytest.approx(output)
    assert requests * 32 == pytest.approx(prompt)


@given(st.integers(1, 30), st.integers(1, 40), st.floats(0.0, 2.0))
def test_the_share_of_a_request_is_one_at_its_end(tokens: int, chunk: int, end: float) -> None:
    request = _request(0.0, 1.0, tokens, chunk)
    assert 0.0 <= share_by(request, end) <= 1.0
    assert share_by(request, request.end_seconds) == 1.0


def test_an_answer_that_came_at_once_counts_by_its_time() -> None:
    assert share_by(Request(1.0, ((3.0, 16),), 3.0, 32, 16), 2.5) == pytest.approx(0.75)


def test_goodput_is_as_uncertain_as_the_rate() -> None:
    """All requests are good: goodput is the rate, and its interval holds the rate's."""
    repeats = tuple(_loop(4, 5, (factor,), 16) for factor in (1.0, 1.1, 1.3))
    waits = waiting(Speed(LoadPoint(4, 20, 32, 16), repeats), SLO(10.0, 10.0, 90))
    rate, goodput = waits.load.request_rate, waits.goodput
    assert goodput.value == pytest.approx(rate.value)
    assert goodput.low < rate.low < rate.high
    assert goodput.high == pytest.approx(rate.high)
