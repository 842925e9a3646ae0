"""Open loads and what the client says of itself, worked out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from evals.schema.load import ClientLoad, LoadPoint, Request, Speed
from evals.stats.intervals import independent, percentile_interval
from reports.metrics.load import load_metrics

OPEN = LoadPoint(None, 20, 10, 4, 10.0, "constant")


def _request(due: float, sent: float, seconds: float) -> Request:
    """Four tokens: the first after half of the time."""
    times = [sent + seconds * share for share in (0.5, 0.7, 0.9, 1.0)]
    return Request(sent, tuple((at, n + 1) for n, at in enumerate(times)), times[-1], 10, 4, None, due)


def _open(seconds: float, late: float = 0.0) -> Speed:
    return Speed(OPEN, (tuple(_request(0.1 * n, 0.1 * n + late, seconds) for n in range(20)),))


def test_latencies_of_an_open_load_count_from_when_a_request_was_due() -> None:
    latency = load_metrics(_open(0.2, late=0.5)).latency
    assert latency.ttft[0].value == pytest.approx(0.6)
    assert latency.e2e[2].value == pytest.approx(0.7)
    assert latency.tpot[0].value == pytest.approx(0.1 / 3)


def test_an_open_load_counts_until_its_last_request_was_due() -> None:
    load = load_metrics(_open(0.05))
    assert load.request_rate.value == pytest.approx(19 / 1.9)
    assert load.output_rate.value == pytest.approx(19 * 4 / 1.9)
    assert load.warnings == ()


def test_a_chunk_that_is_under_way_at_the_end_counts_by_its_share() -> None:
    """Two at a time, in chunks of five: the second request's last chunk comes a tenth of its time after the end."""
    first = Request(0.0, ((1.0, 5), (2.0, 10)), 2.0, 10, 10)
    other = Request(0.0, ((1.1, 5), (2.1, 10)), 2.1, 10, 10)
    load = load_metrics(Speed(LoadPoint(2, 2, 10, 10), ((first, other), (first, other))))
    assert load.output_rate.value == pytest.approx((10 + 5 + 5 * 0.9) / 2.0)


def test_conversations_drain_when_a_user_has_none_left() -> None:
    """Two users, three conversations of two turns of a second: one user ends at 2 s, the other goes on to 4 s."""
    starts = [0.0, 0.0, 1.0, 1.0, 2.0, 3.0]
    requests = tuple(Request(at, ((at + 0.5, 5), (at + 1.0, 10)), at + 1.0, 10, 10) for at in starts)
    load = load_metrics(Speed(LoadPoint(2, 6, 10, 10, turns=2), (requests, requests)))
    assert load.output_rate.value == pytest.approx(40 / 2.0)
    assert load.request_rate.value == pytest.approx(4 / 2.0)


def test_an_answer_that_came_at_once_has_no_tpot() -> None:
    request = Request(0.0, ((0.5, 10),), 0.5, 10, 10)
    assert request.tpot_seconds is None
    load = load_metrics(Speed(LoadPoint(1, 1, 10, 10), ((request,), (request,))))
    assert load.latency.tpot == ()
    assert load.latency.ttft[0].value == 0.5


def test_a_server_that_does_not_keep_up_is_told() -> None:
    """Ten requests come in a second, four are served: each waits for those before it."""
    repeat = tuple(_request(0.1 * n, 0.1 * n, 0.25 * (n + 1) - 0.1 * n) for n in range(20))
    (warning,) = load_metrics(Speed(OPEN, (repeat,))).warnings
    assert warning.startswith("saturated: ")
    closed = dataclasses.replace(OPEN, concurrency=5, rate_per_second=None, arrivals="closed")
    assert load_metrics(Speed(closed, (repeat,))).warnings == ()


def test_requests_that_come_at_once_are_no_backlog() -> None:
    """A trace in whole seconds: five come at once each time, and are served before the next five come."""
    load = dataclasses.replace(OPEN, arrivals="trace", trace="t.jsonl")
    steady = [_request(float(n // 5), float(n // 5), 0.1 * (1 + n % 5)) for n in range(40)]
    more = [_request(8.0, 8.0, 0.1 * (1 + n)) for n in range(15)]
    for repeat in (steady, [*steady, *more]):
        assert load_metrics(Speed(load, (tuple(repeat),) * 3)).warnings == ()


def test_an_interval_that_is_wider_than_asked_for_is_told() -> None:
    slow, fast = (_open(0.05).repeats[0], _open(0.4).repeats[0])
    wanted = dataclasses.replace(OPEN, target_relative_ci=0.05, max_repeats=2)
    (warning,) = load_metrics(Speed(wanted, (slow, fast))).warnings
    assert warning.startswith("after 2 repeats the interval of output tokens/s is ±")
    assert warning.endswith(" (target ±5 %)")
    assert load_metrics(Speed(wanted, (slow, slow))).warnings == ()


def test_a_load_without_a_token_in_its_window_has_no_narrow_rate() -> None:
    """Twenty requests within two seconds, of which the first token comes in the third."""
    wanted = dataclasses.replace(OPEN, target_relative_ci=0.05, max_repeats=2)
    late = tuple(_request(0.1 * n, 0.1 * n, 5.0) for n in range(20))
    load = load_metrics(Speed(wanted, (late, late)))
    assert load.output_rate.value == 0.0
    assert "after 2 repeats the interval of output tokens/s is ±inf % (target ±5 %)" in load.warnings


def test_a_client_at_its_limit_is_told() -> None:
    good = ClientLoad(2.0, 0.4, (0.0001, 0.002, 0.02))
    speed = dataclasses.replace(_open(0.05), clients=(good,))
    assert load_metrics(speed).client_cores == 0.2
    assert load_metrics(_open(0.05)).client_cores is None
    assert load_metrics(speed).warnings == ()
    busy = load_metrics(dataclasses.replace(speed, clients=(good, dataclasses.replace(good, cpu_seconds=1.9))))
    assert busy.warnings == ("the load generator was the bottleneck: it used 95 % of its one core",)
    slow = dataclasses.replace(good, lags_seconds=(0.001, 0.0061, 0.2))
    late = load_metrics(dataclasses.replace(speed, clients=(slow,)))
    (warning,) = late.warnings
    assert warning.startswith("the load generator's p99 send delay was 6 ms (limit 5 ms)")
    assert load_metrics(dataclasses.replace(_open(0.4), clients=(slow,))).warnings == ()  # a tenth of a TPOT of 67 ms


def test_intervals_of_percentiles_by_hand_and_their_coverage() -> None:
    median = percentile_interval(independent([float(n) for n in range(1, 11)]), 50)
    assert (median.value, median.low, median.high) == (5.5, 2.0, 9.0)  # Binomial(10, ½): 2 to 8 hold 97.9 %
    assert percentile_interval(independent([1.0, 2.0]), 50).low == -np.inf
    assert percentile_interval(independent([float(n) for n in range(50)]), 99).high == np.inf
    generator, covered = np.random.default_rng(0), 0
    for _ in range(500):
        estimate = percentile_interval(independent(generator.exponential(size=200)), 90)
        covered += estimate.low <= np.log(10) <= estimate.high
    assert 0.93 <= covered / 500 <= 0.99


def test_repeats_of_a_wanted_interval_are_judged_by_the_first_of_them() -> None:
    """Three that are nearly alike, and three that are not: the later ones do not make it wider, nor narrower."""
    near, far = _open(0.05).repeats[0], _open(0.4).repeats[0]
    wanted = dataclasses.replace(OPEN, target_relative_ci=0.05, max_repeats=6)
    staged = load_metrics(Speed(wanted, (near, near, near, far, far, far), first_repeats=3)).output_rate
    assert (staged.high / staged.value, staged.count) == (pytest.approx(1.0), 3)
    old = load_metrics(
        Speed(wanted, (near, far, near, far))
    ).output_rate  # two were there at least, whatever was wanted
    assert old.count == 2
    assert load_metrics(Speed(OPEN, (near, far, near, far))).output_rate.count == 4
