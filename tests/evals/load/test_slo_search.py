"""The search for the highest load within limits, on simulated servers whose true capacity is known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.runtime.server import serve
from engines.types import Serving
from evals.load.prompts import Prompts
from evals.load.slo_search import (
    MOST_CONFIRMED,
    NARROW,
    capacity_of,
    confirm,
    confirm_capacity,
    level_of,
    levels_found,
    load_at,
    next_level,
    search,
    search_capacity,
)
from evals.metrics.saturation import keeps_up
from evals.metrics.slo import LimitState, is_good, slo_verdict
from evals.schema.load import LoadPoint, Request, Speed
from evals.schema.part import joined_searches
from evals.schema.slo import LEAST_REPEATS, SLO, Search, SearchRange
from tests.support.drifting_server import Server
from tests.support.fake_engine import CPU, HERE, fake_engine

LIMITS = SLO(ttft_seconds=0.5, tpot_seconds=0.1, percentile=90)
USERS = SearchRange("concurrency", 1, 64, 40, 16, 8)
RATES = SearchRange("rate", 0.5, 32, 60, 16, 8)


def _request(ttft: float, tpot: float, at: float = 0.0) -> Request:
    chunks = tuple((at + ttft + tpot * n, n + 1) for n in range(8))
    return Request(at, chunks, chunks[-1][0], 16, 8)


def _speed(*requests: Request, load: LoadPoint | None = None) -> Speed:
    return Speed(load or LoadPoint(4, len(requests), 16, 8), (requests,))


def test_a_load_keeps_its_limits_where_the_percentile_surely_does() -> None:
    fast, slow = _request(0.1, 0.05), _request(0.9, 0.05)
    assert slo_verdict(_speed(*[fast] * 40), LIMITS) == "met"
    assert slo_verdict(_speed(*[fast] * 30), LIMITS) == "inconclusive"  # a p90 of 30 requests has no upper end
    assert slo_verdict(_speed(*[fast] * 37, *[slow] * 3), LIMITS) == "inconclusive"
    assert slo_verdict(_speed(*[fast] * 30, *[slow] * 10), LIMITS) == "violated"
    assert slo_verdict(_speed(*[_request(0.1, 0.2)] * 40), LIMITS) == "violated"
    assert slo_verdict(_speed(*[slow] * 40), SLO(None, 0.1, 90)) == "met"


def test_answers_that_came_at_once_are_not_told_to_be_fast() -> None:
    at_once = Request(0.0, ((0.1, 8),), 0.1, 16, 8)
    assert slo_verdict(_speed(*[at_once] * 40), LIMITS) == "inconclusive"
    assert slo_verdict(_speed(*[at_once] * 40), SLO(0.5, None, 90)) == "met"
    assert not is_good(at_once, LIMITS)


def test_a_good_request_is_within_every_limit() -> None:
    assert is_good(_request(0.1, 0.05), LIMITS)
    assert not is_good(_request(0.1, 0.2), LIMITS)
    assert not is_good(_request(0.9, 0.05), LIMITS)
    assert is_good(_request(0.9, 0.05), SLO(None, 0.1, 90))


def test_a_growing_backlog_breaks_a_load_whatever_its_latencies_are() -> None:
    """Each answer takes as long as the whole load: none has ended when the last request is due."""
    load = LoadPoint(None, 40, 16, 8, 10.0, "constant")
    slow = [_request(0.1, 1.0, 0.1 * n) for n in range(40)]
    assert not keeps_up(_speed(*slow, load=load))
    assert slo_verdict(_speed(*slow, load=load), SLO(0.5, None, 90)) == "violated"


def test_chance_is_no_backlog() -> None:
    """A server of a fixed time for each request keeps up with any rate; what is in flight varies by chance alone."""
    generator, flagged = np.random.default_rng(0), 0
    load = LoadPoint(None, 40, 16, 8, 1.0, "poisson")
    for _ in range(200):
        repeats = []
        for _ in range(3):
            starts = np.cumsum(generator.exponential(1.0, 40))
            repeats.append(tuple(_request(0.5, 0.3, float(at)) for at in starts))
        flagged += not keeps_up(Speed(load, tuple(repeats)))
    assert flagged < 20


def _server(capacity: float, seed: int = 0):  # type: ignore[no-untyped-def]
    """Its TTFT is in proportion to the load and reaches the limit at `capacity`, with 2 % of noise."""
    generator = np.random.default_rng(seed)

    def run(load: LoadPoint, repeat: int) -> Speed:
        level = load.concurrency or load.rate_per_second or 0.0
        noise = 1 + 0.02 * generator.standard_normal(load.requests)
        starts = np.arange(load.requests) * 100.0  # so that open loads have no backlog
        requests = [
            _request(float(0.5 * level / capacity * factor), 0.01, at) for factor, at in zip(noise, starts, strict=True)
        ]
        return _speed(*requests, load=load)

    return run


def _verdicts(limits: SLO, within: SearchRange, capacity: float) -> dict[float, LimitState]:
    result = search(within, limits, _server(capacity), repeats=5)
    return {
        probe.load.concurrency or probe.load.rate_per_second or 0.0: slo_verdict(probe, limits)
        for probe in result.probes
    }


@pytest.mark.parametrize("capacity", [1.6, 5.4, 13.5, 40.5])
def test_the_capacity_of_closed_loops_is_found(capacity: float) -> None:
    verdicts = _verdicts(LIMITS, USERS, capacity)
    most = max(level for level, verdict in verdicts.items() if verdict == "met")
    beyond = min(level for level, verdict in verdicts.items() if verdict != "met")
    assert most < capacity
    assert beyond > 0.93 * capacity
    assert beyond <= max(NARROW * most, most + 1)
    assert all(verdict != "met" for level, verdict in verdicts.items() if level >= capacity)


def test_the_capacity_of_a_rate_is_found() -> None:
    verdicts = _verdicts(LIMITS, RATES, 7.3)
    most = max(level for level, verdict in verdicts.items() if verdict == "met")
    beyond = min(level for level, verdict in verdicts.items() if verdict != "met")
    assert most < 7.3 < beyond * 1.03
    assert beyond <= NARROW * most


def test_the_search_ends_at_the_ends_of_its_range() -> None:
    assert list(_verdicts(LIMITS, USERS, 0.5)) == [1.0]
    assert list(_verdicts(LIMITS, USERS, 1000.0)) == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]


def test_a_load_is_looked_at_once_after_all_its_repeats() -> None:
    """Looks in between would each cost confidence. Of 15 requests each, five repeats can keep a 90th percentile."""
    runs: list[tuple[float, int]] = []

    def run(load: LoadPoint, number: int) -> Speed:
        runs.append((load.concurrency or 0, number))
        return _speed(*[_request(0.1, 0.05)] * load.requests, load=load)

    within = SearchRange("concurrency", 1, 2, 15, 16, 8)
    result = search(within, LIMITS, run, repeats=3)
    assert runs == [(level, number) for level in (1, 2) for number in range(LEAST_REPEATS)]
    assert [slo_verdict(probe, LIMITS) for probe in result.probes] == ["met", "met"]
    search(within, LIMITS, run, repeats=7)
    assert runs[10:17] == [(1, number) for number in range(7)]


def test_a_level_lasts_as_long_as_it_should() -> None:
    """Forty requests of half a second each take 20 s: for 60 s in five repeats they are enough, for 400 s four times as
    many, and for a confirmation of 60 s in each repeat three times as many.
    """

    def run(load: LoadPoint, _: int) -> Speed:
        return _speed(*[_request(0.1, 0.4 / 7, 0.5 * number) for number in range(load.requests)], load=load)

    within = SearchRange("concurrency", 1, 1, 40, 16, 8, level_seconds=60.0)
    short = search(within, LIMITS, run, repeats=5)
    assert [len(repeat) for repeat in short.probes[0].repeats] == [40] * 5
    (probe,) = search(replace(within, level_seconds=400.0), LIMITS, run, repeats=5).probes
    assert ([len(repeat) for repeat in probe.repeats], probe.load.requests) == ([160] * 5, 160)
    (again,) = confirm(short, run, repeats=5).confirmed
    assert [len(repeat) for repeat in again.repeats] == [120] * 5


def _level(users: int, ttft: float) -> Speed:
    repeat = tuple(_request(ttft, 0.05, 10.0 * number) for number in range(40))
    return Speed(LoadPoint(users, 40, 16, 8), (repeat,) * 5)


def test_only_what_a_fresh_session_confirms_is_a_capacity() -> None:
    """Four users were met in the search. Anew, the server is slower: three of them are too many, two are not."""
    probes = tuple(_level(users, ttft) for users, ttft in ((1, 0.1), (2, 0.2), (4, 0.4), (8, 0.8), (6, 0.6)))
    searched = Search(USERS, LIMITS, probes)
    assert levels_found(searched) == [4, 2, 1]
    assert capacity_of(searched) is None

    def slower(load: LoadPoint, _: int) -> Speed:
        users = load.concurrency or 1
        return Speed(load, _level(users, 0.15 * users).repeats[:1])

    again = confirm(searched, slower, repeats=5)
    assert [speed.load.concurrency for speed in again.confirmed] == [4, 2]
    (joined,) = joined_searches([searched, again])
    assert joined.probes == probes
    best = capacity_of(joined)
    assert best is not None
    assert best.load.concurrency == 2
    other = replace(again, confirmed=(_level(8, 0.1),))  # what the search did not find is confirmed by nothing
    assert capacity_of(replace(searched, confirmed=other.confirmed)) is None


def test_no_more_levels_are_tried_again_than_share_the_error_rate() -> None:
    searched = Search(USERS, LIMITS, tuple(_level(users, 0.1) for users in (1, 2, 4, 8, 16)))

    def stalled(load: LoadPoint, _: int) -> Speed:
        return Speed(load, (_level(load.concurrency or 1, 0.9).repeats[0],))

    again = confirm(searched, stalled, repeats=5)
    assert [speed.load.concurrency for speed in again.confirmed] == [16, 8, 4]
    assert len(again.confirmed) == MOST_CONFIRMED


def test_a_server_that_wanders_or_stalls_is_not_called_met_too_high() -> None:
    """One session, looked at after each repeat, calls too high a load met in 10 to 50 % of these."""
    generator, rates = np.random.default_rng(0), replace(RATES, lowest=1, highest=8, requests=40, level_seconds=60.0)
    limits, wrong = SLO(0.5, None, 90), 0
    for _ in range(10):
        server = Server(generator, 6.0, stall_seconds=8.0, stall_gap_seconds=60.0)
        wrong += _is_met_too_high(rates, limits, server)
    for _ in range(10):
        server = Server(generator, 6.0, wander=0.08)
        wrong += _is_met_too_high(replace(USERS, highest=8, level_seconds=60.0), limits, server)
    assert wrong <= 1


def _is_met_too_high(within: SearchRange, limits: SLO, server: Server) -> bool:
    searched = search(within, limits, server.run, repeats=5)
    server.start()
    again = confirm(searched, server.run, repeats=5)
    best = capacity_of(replace(searched, confirmed=again.confirmed))
    return best is not None and level_of(best) > server.capacity(limits.percentile)


@given(st.floats(0.3, 200.0), st.sampled_from([USERS, RATES]), st.sampled_from(["violated", "inconclusive"]))
def test_every_search_ends_with_a_narrow_bracket(capacity: float, within: SearchRange, beyond: LimitState) -> None:
    verdicts: dict[float, LimitState] = {}
    while (level := next_level(within, verdicts)) is not None:
        assert within.lowest <= level <= within.highest
        assert level not in verdicts
        assert len(verdicts) < 20
        verdicts[level] = "met" if level <= capacity else beyond
    most = max((level for level, verdict in verdicts.items() if verdict == "met"), default=0.0)
    least = min((level for level, verdict in verdicts.items() if verdict != "met"), default=math.inf)
    assert most >= within.highest or least == within.lowest or least <= max(NARROW * most, most + 1) + 1e-9


def test_a_closed_loop_gets_enough_requests_to_be_one() -> None:
    """40 of them count, after those that start at once and before those that end in the drain."""
    assert load_at(USERS, 32.0) == LoadPoint(32, 103, 16, 8)
    assert load_at(USERS, 2.0) == LoadPoint(2, 43, 16, 8)
    assert load_at(USERS, 1.0) == LoadPoint(1, 40, 16, 8)
    assert load_at(replace(USERS, requests=10), 32.0) == LoadPoint(32, 96, 16, 8)
    assert load_at(RATES, 2.5) == LoadPoint(None, 60, 16, 8, 2.5, "poisson")


def test_real_requests_are_searched_through(tmp_path: Path) -> None:
    stages: list[str] = []

    def stage(name: str, total: int):  # type: ignore[no-untyped-def]
        stages.append(name)
        return lambda _: None

    within = SearchRange("concurrency", 1, 2, 40, 5, 6)
    limits = SLO(60.0, 60.0, 90)
    engine = fake_engine("good")
    with serve(engine, HERE, Serving(tmp_path, CPU, 1, 64), {}, log=tmp_path / "log") as (endpoint, _):
        prompts = Prompts(range(10, 60))
        result = search_capacity(endpoint, within, limits, prompts, repeats=2, seed=0, stage=stage)
        again = confirm_capacity(endpoint, result, prompts, repeats=2, seed=0, stage=stage)
    assert [speed.load.concurrency for speed in again.confirmed] == [2]
    assert [probe.load.concurrency for probe in result.probes] == [1, 2]
    assert [len(probe.repeats[0]) for probe in result.probes] == [40, 43]
    assert [*dict.fromkeys(stages)] == ["capacity, concurrency 1", "capacity, concurrency 2"]
