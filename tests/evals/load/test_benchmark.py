from __future__ import annotations

import gc
import time
from pathlib import Path

import pytest

from engines.runtime.server import serve
from engines.types import Endpoint, Serving, TimeLimits
from evals.load import benchmark
from evals.load.benchmark import LoadFailed, measure_speed
from evals.load.prompts import Prompts
from evals.load.traces import TraceRequest
from evals.metrics.steady_state import steady, tpot, ttft
from evals.schema.load import ClientLoad, LoadPoint
from reports.metrics.load import load_metrics
from tests.support.fake_engine import CPU, HERE, fake_engine
from tests.support.hostile_server import ENDLESS, TOO_LONG, hostile_server

LOAD = LoadPoint(concurrency=3, requests=7, prompt_tokens=5, output_tokens=6)


def _measure(tmp_path: Path, behaviour: str, done: list[int] | None = None):  # type: ignore[no-untyped-def]
    engine = fake_engine(behaviour)
    with serve(engine, HERE, Serving(tmp_path, CPU, 1, 64), {}, log=tmp_path / "log") as (endpoint, _):
        advance = (lambda n: None) if done is None else done.append
        return measure_speed(endpoint, [LOAD], Prompts(range(10, 60)), repeats=2, seed=0, advance=advance)


def test_raw_requests_are_kept(tmp_path: Path) -> None:
    done: list[int] = []
    (speed,) = _measure(tmp_path, "good", done)
    assert done == [1] * 14
    assert [len(repeat) for repeat in speed.repeats] == [7, 7]
    for request in speed.repeats[0]:
        assert request.error is None
        assert (request.prompt_tokens, request.output_tokens) == (5, 6)
        assert [tokens for _, tokens in request.chunks] == [1, 2, 3, 4, 5, 6]
        arrivals = [at for at, _ in request.chunks]
        assert request.sent_seconds < arrivals[0]
        assert arrivals == sorted(arrivals)
        assert request.end_seconds == arrivals[-1]


def test_no_garbage_is_collected_while_the_load_runs(tmp_path: Path) -> None:
    collects: list[bool] = []
    with serve(fake_engine("good"), HERE, Serving(tmp_path, CPU, 1, 64), {}, log=tmp_path / "log") as (endpoint, _):
        prompts, note = Prompts(range(10, 60)), lambda _: collects.append(gc.isenabled())
        measure_speed(endpoint, [LOAD], prompts, repeats=1, seed=0, advance=note)
    assert collects == [False] * 7
    assert gc.isenabled()


def test_each_visit_has_prompts_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same ones in every cell: what differs between the cells of a round is not what they were asked."""
    drawn: list[int] = []

    def noted(*_: object, repeat: int, **__: object) -> tuple[tuple[()], ClientLoad]:
        drawn.append(repeat)
        return (), ClientLoad(1.0, 1.0, (0.0, 0.0, 0.0))

    monkeypatch.setattr(benchmark, "run_load", noted)
    for visit in (1, 2, 3, 1):
        measure_speed(None, [LOAD], Prompts(range(9)), repeats=2, seed=0, visit=visit)  # type: ignore[arg-type]
    assert drawn[:3] == drawn[9:]
    assert len(set(drawn)) == 9


def test_no_more_in_flight_than_asked(tmp_path: Path) -> None:
    (speed,) = _measure(tmp_path, "good")
    for repeat in speed.repeats:
        for request in repeat:
            overlapping = [o for o in repeat if o.sent_seconds <= request.sent_seconds < o.end_seconds]
            assert len(overlapping) <= LOAD.concurrency


def test_wrong_token_counts_are_no_result(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match="counted 5 prompt and 3 output tokens where 5 and 4 were asked for"):
        _measure(tmp_path, "wrong-counts")


def test_a_failed_request_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match="HTTP 500: the kernel is missing"):
        _measure(tmp_path, "error")


def test_what_came_from_a_prefix_cache_is_noted(tmp_path: Path) -> None:
    (speed,) = _measure(tmp_path, "cached")
    assert {request.cached_tokens for repeat in speed.repeats for request in repeat} == {4}
    (warning,) = [warning for warning in load_metrics(speed).warnings if "prefix cache" in warning]
    assert warning == "80 % of the prompt tokens came from a prefix cache: TTFT is lower than for a new prompt"
    (cold,) = _measure(tmp_path, "good")
    assert not [warning for warning in load_metrics(cold).warnings if "prefix cache" in warning]


def test_an_open_load_notes_when_each_request_was_due(tmp_path: Path) -> None:
    load = LoadPoint(None, 12, 5, 6, 200.0, "poisson")
    with serve(fake_engine("good"), HERE, Serving(tmp_path, CPU, 1, 64), {}, log=tmp_path / "log") as (endpoint, _):
        (speed,) = measure_speed(endpoint, [load], Prompts(range(10, 60)), repeats=2, seed=0)
    for repeat, client in zip(speed.repeats, speed.clients, strict=True):
        due = [request.due_seconds for request in repeat]
        assert due[0] == 0.0
        assert None not in due
        assert all(
            request.due_seconds is not None and request.sent_seconds >= request.due_seconds for request in repeat
        )
        assert all(request.output_tokens == 6 for request in repeat)
        assert client.seconds >= max(request.end_seconds for request in repeat) - 0.01
        assert 0 < client.cpu_seconds < client.seconds
        assert 0 <= client.lags_seconds[0] < client.seconds


def test_a_trace_is_replayed_request_by_request(tmp_path: Path) -> None:
    """Three come at once, one of them wants a single token; both repeats are due at the same times."""
    counts = [(5, 6), (9, 1), (7, 3), *[(4, 2)] * 9]
    trace = [TraceRequest(n, max(n - 2, 0) / 50, *sizes) for n, sizes in enumerate(counts)]
    load = LoadPoint(None, 12, 9, 6, 50.0, "trace", trace="t.jsonl", trace_speedup=2.0)
    prompts = Prompts(range(10, 60), traces={"t.jsonl": trace})
    with serve(fake_engine("good"), HERE, Serving(tmp_path, CPU, 1, 64), {}, log=tmp_path / "log") as (endpoint, _):
        (speed,) = measure_speed(endpoint, [load], prompts, repeats=2, seed=0)
    for repeat in speed.repeats:
        due = [request.due_seconds for request in repeat]
        assert due == pytest.approx([0, 0, 0, *(n / 100 for n in range(1, 10))])
        assert sorted((request.prompt_tokens, request.output_tokens) for request in repeat) == sorted(counts)
        assert all(request.sent_seconds >= (request.due_seconds or 0) for request in repeat)
    metrics = load_metrics(speed)
    counted = steady(speed)
    assert len(counted.of_started(ttft).values) == 24
    assert len(counted.of_ended(tpot).values) == 22  # a single token has none
    assert metrics.load.label == "t.jsonl: replayed at 2 × its speed, 50 requests/s"


def test_turns_of_a_conversation_wait_for_each_other(tmp_path: Path) -> None:
    load = LoadPoint(2, 8, 5, 6, turns=4)
    with serve(fake_engine("good"), HERE, Serving(tmp_path, CPU, 1, 64), {}, log=tmp_path / "log") as (endpoint, _):
        (speed,) = measure_speed(endpoint, [load], Prompts(range(10, 60)), repeats=1, seed=0)
    (requests,) = speed.repeats
    assert sorted(request.prompt_tokens for request in requests) == [5, 5, 16, 16, 27, 27, 38, 38]
    for turn, following in ((5, 16), (16, 27), (27, 38)):
        ends = sorted(request.end_seconds for request in requests if request.prompt_tokens == turn)
        assert min(request.sent_seconds for request in requests if request.prompt_tokens == following) >= ends[0]


def test_a_load_is_repeated_as_often_as_its_first_repeats_say(tmp_path: Path) -> None:
    """No interval is as narrow as a millionth, any is narrower than a million times the rate."""
    counts = []
    with serve(fake_engine("good"), HERE, Serving(tmp_path, CPU, 1, 64), {}, log=tmp_path / "log") as (endpoint, _):
        for spread in (1e-6, 1e6):
            load = LoadPoint(1, 2, 5, 6, target_relative_ci=spread, max_repeats=4)
            (speed,) = measure_speed(endpoint, [load], Prompts(range(10, 60)), repeats=2, seed=0)
            counts.append((len(speed.repeats), speed.first_repeats))
    assert counts == [(4, 3), (3, 3)]


@pytest.mark.parametrize("attack", ["endless body", "endless line", "dripped body"])
def test_a_load_on_a_server_that_answers_for_ever_ends(attack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.load.benchmark.ANSWER_BYTES", 2**20)
    words = r"no answer for 1 s \(`time_limits: request_seconds`\)" if attack == "dripped body" else "is too long: over"
    started = time.monotonic()
    with hostile_server((ENDLESS | TOO_LONG)[attack]) as (url, sent):
        dialect, limits = fake_engine().dialect, TimeLimits(request_seconds=1)
        endpoint = Endpoint(url, "key", None, Path("log"), dialect, 0.0, {}, limits=limits)
        with pytest.raises(LoadFailed, match=words):
            measure_speed(endpoint, [LOAD], Prompts(range(10, 60)), repeats=1, seed=0)
    assert time.monotonic() - started < 3
    assert max(sent) < 16 * 2**20
