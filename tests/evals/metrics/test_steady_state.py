"""Which requests count, worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from evals.metrics.slo import is_good, slo_verdict
from evals.metrics.steady_state import Steady, e2e, steady, tpot
from evals.schema.load import LoadPoint, Request, Speed
from evals.schema.slo import SLO
from reports.metrics.load import load_metrics
from reports.metrics.slo_capacity import waiting


def _request(sent: float, ttft: float, end: float) -> Request:
    return Request(sent, ((sent + ttft, 1), (end, 10)), end, 10, 10)


def _loop(users: int, waves: int) -> tuple[Request, ...]:
    """Users who each wait a second for the first token, of the first wave 4 s, and one more for the rest, a moment one
    after the other: in the drain, half of it.
    """
    requests = []
    for user in range(users):
        at = 0.01 * user
        for wave in range(waves):
            ttft, rest = 4.0 if wave == 0 else 1.0, 0.5 if wave == waves - 1 and user else 1.0
            requests.append(_request(at, ttft, at + ttft + rest))
            at += ttft + rest
    return tuple(requests)


def _of(load: LoadPoint, *repeats: Sequence[Request]) -> Steady:
    return steady(Speed(load, tuple(tuple(repeat) for repeat in repeats)))


def test_the_burst_and_the_drain_are_left_out() -> None:
    """Four users, five waves. Those of the last wave end first where they drain: three of them before the first user."""
    repeat = _loop(4, 5)
    steady_state = _of(LoadPoint(4, 20, 10, 10), repeat, repeat)
    assert (len(steady_state.started), steady_state.one_wave) == (2 * 16, False)
    assert all(request.ttft_seconds == pytest.approx(1.0) for request in steady_state.started)
    assert len(steady_state.ended) == 2 * 13
    assert all(request.sent_seconds > 1 for request in steady_state.ended)
    last = min(request.end_seconds for request in repeat if request.sent_seconds > 10.5)
    assert all(request.end_seconds <= last for request in steady_state.ended)
    latency = load_metrics(Speed(LoadPoint(4, 20, 10, 10), (repeat, repeat))).latency
    assert latency.ttft[2].value == pytest.approx(1.0)
    assert (latency.ttft[0].count, latency.e2e[0].count, latency.tpot[0].count) == (32, 26, 26)


def test_where_too_few_would_remain_the_drain_stays() -> None:
    repeat = _loop(4, 2)
    steady_state = _of(LoadPoint(4, 8, 10, 10), repeat)
    assert (len(steady_state.started), len(steady_state.ended), steady_state.one_wave) == (4, 4, False)


def test_one_wave_has_no_steady_state_and_says_so() -> None:
    load, repeat = LoadPoint(4, 7, 10, 10), _loop(4, 2)[:7]
    steady_state = _of(load, repeat)
    assert (len(steady_state.started), len(steady_state.ended), steady_state.one_wave) == (7, 7, True)
    (warning,) = load_metrics(Speed(load, (repeat, repeat))).warnings
    assert warning == ("no steady state: all 4 requests start together. Use at least 8 requests")


def test_one_user_has_neither() -> None:
    repeat = _loop(1, 3)
    steady_state = _of(LoadPoint(1, 3, 10, 10), repeat)
    assert (steady_state.started, steady_state.ended, steady_state.one_wave) == (repeat, repeat, False)


def test_arrivals_are_the_load_itself() -> None:
    repeat = tuple(sorted(_loop(4, 2), key=lambda request: request.sent_seconds))
    steady_state = _of(LoadPoint(None, 8, 10, 10, 2.0, "poisson"), repeat)
    assert (steady_state.started, steady_state.ended, steady_state.one_wave) == (repeat, repeat, False)


def test_a_turn_takes_the_place_of_the_one_before() -> None:
    """Two users, three conversations of two turns of a second: when the first user has no other, at 2 s, the load
    drains, and the third conversation's second turn is sent with one in flight.
    """
    starts = [0.0, 0.0, 1.0, 1.0, 2.0, 3.0]
    repeat = [_request(at, 0.5, at + 1.0) for at in starts]
    steady_state = _of(LoadPoint(2, 6, 10, 10, turns=2), repeat)
    assert [request.sent_seconds for request in steady_state.started] == [1.0, 1.0, 2.0]
    assert [request.sent_seconds for request in steady_state.ended] == [1.0, 1.0]


def test_a_service_is_kept_by_what_counts() -> None:
    """The burst alone is slow: 5 of 45 requests in each repeat."""
    speed = Speed(LoadPoint(5, 45, 10, 10), (_loop(5, 9), _loop(5, 9)))
    limits = SLO(2.0, 0.2, 90)
    assert slo_verdict(speed, limits) == "met"
    waits = waiting(speed, limits)
    assert (waits.good.value, waits.good.count) == (1.0, 2 * 36)
    assert (waits.ttft.count, waits.tpot and waits.tpot.count) == (2 * 40, 2 * 36)
    assert (
        slo_verdict(Speed(LoadPoint(1, 45, 10, 10), speed.repeats), limits) == "inconclusive"
    )  # all of them, as they are


def test_an_answer_of_one_token_has_no_time_between_tokens() -> None:
    request = Request(0.0, ((0.4, 1),), 0.4, 10, 1)
    assert is_good(request, SLO(0.5, 0.1, 90))
    assert not is_good(request, SLO(0.3, 0.1, 90))


def test_an_answer_of_one_token_leaves_a_limit_on_tpot_conclusive() -> None:
    """It has no TPOT, and is not judged by it: neither unclear for ever nor good for nothing."""
    many = [_request(10.0 * n, 0.4, 10.0 * n + 0.8) for n in range(40)]
    single = Request(500.0, ((500.4, 1),), 500.4, 10, 1)
    load = LoadPoint(1, 41, 10, 10)
    assert slo_verdict(Speed(load, ((*many, single),)), SLO(None, 0.1, 90)) == "met"
    assert slo_verdict(Speed(load, ((*many, single),)), SLO(None, 0.01, 90)) == "violated"
    assert slo_verdict(Speed(load, ((single,) * 41,)), SLO(None, 0.1, 90)) == "inconclusive"
    half = Request(500.0, ((500.4, 10),), 500.4, 10, 10)
    assert slo_verdict(Speed(load, ((*many, half),)), SLO(None, 0.1, 90)) == "inconclusive"


def test_each_request_has_its_repeat_and_its_wave() -> None:
    """Of four users' five waves the first is left out, and the last one ends in the drain but for one of it."""
    steady_state = _of(LoadPoint(4, 20, 10, 10), _loop(4, 5), _loop(4, 5))
    assert steady_state.started_in == tuple((1, repeat, place // 4) for repeat in (0, 1) for place in range(16))
    assert set(steady_state.ended_in) <= set(steady_state.started_in)
    sample = steady_state.of_ended(tpot)
    assert [*sample.repeats] == [0] * 13 + [1] * 13
    assert (sample.waves.max(), *sample.waves[:5]) == (7, 0, 0, 0, 0, 1)


def test_a_wave_of_an_open_load_is_what_is_in_flight() -> None:
    """One request a second, each of which takes 3.5 s: 3.7 in flight, as the last ones go on after the last start."""
    repeat = tuple(_request(float(n), 1.0, n + 3.5) for n in range(20))
    steady_state = _of(LoadPoint(None, 20, 10, 10, 1.0, "constant"), repeat)
    assert steady_state.started_in == tuple((1, 0, n // 4) for n in range(20))


def test_repeats_of_one_server_in_a_race_are_one_unit() -> None:
    repeat = _loop(2, 8)
    speed = Speed(LoadPoint(2, 8, 10, 10), (repeat,) * 4)
    of_servers = steady(replace(speed, rounds=(1, 1, 2, 2))).of_ended(e2e)
    assert len(set(of_servers.repeats.tolist())) == 2
    assert len(set(steady(replace(speed, rounds=(1, 2, 3, 4))).of_ended(e2e).repeats.tolist())) == 4
    assert len(set(steady(speed).of_ended(e2e).repeats.tolist())) == 4
    assert of_servers.waves.max() == steady(speed).of_ended(e2e).waves.max()
