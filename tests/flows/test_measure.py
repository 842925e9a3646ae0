from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines.process import ProcessFailed
from evals.record import LoadPoint
from flows.cells import EngineChoice
from flows.estimate import _steps
from flows.measure import _reach
from flows.plan_load import LoadPlan, workloads
from tests.engines.fake import CPU, fake_engine


def test_an_engine_without_environment_is_not_started(tmp_path: Path) -> None:
    choice, work = EngineChoice(fake_engine(), {}, ""), Any
    with (
        pytest.raises(ProcessFailed, match="fake has no environment on this device"),
        _reach(choice, None, tmp_path, CPU, work, tmp_path / "log"),
    ):
        pass


def test_loads_are_closed_loops_or_arrive_at_a_rate() -> None:
    counts = {"requests": 20, "prompt_tokens": 8, "output_tokens": 4}
    plans = [
        LoadPlan(concurrency=4, **counts),
        LoadPlan(rate_per_second=2, **counts),
        LoadPlan(rate_per_second=0.5, arrivals="gamma", gap_variation=2.0, **counts),
    ]
    closed, poisson, bursts = (one.point for one in plans)
    assert closed == LoadPoint(4, 20, 8, 4)
    assert poisson == LoadPoint(None, 20, 8, 4, 2.0, "poisson", 1.0)
    assert (bursts.arrivals, bursts.gap_variation) == ("gamma", 2.0)
    assert [one.label for one in (closed, poisson)] == ["concurrency 4", "2 requests/s, poisson"]
    assert _steps(plans[0]) == 20
    assert _steps(plans[1]) == 4


def test_a_workload_gives_what_the_plan_does_not() -> None:
    rag = LoadPlan(workload="rag", concurrency=2, requests=4, output_tokens=16)  # type: ignore[call-arg]
    assert rag.point == LoadPoint(2, 4, 1024, 16, workload="rag")
    assert rag.point.label == "rag: concurrency 2"
    chat = LoadPlan(workload="chat", concurrency=1, requests=8)  # type: ignore[call-arg]
    assert (chat.turns, chat.tokens) == (4, 128 + 4 * (128 + 128))
    assert LoadPlan(workload="batch-1", rate_per_second=2).point.concurrency is None  # type: ignore[call-arg]


@pytest.mark.parametrize("name", sorted(workloads()))
def test_every_workload_is_a_load(name: str) -> None:
    given = {"concurrency": 1, "requests": 8} | workloads()[name]
    assert LoadPlan(**{**given, "workload": name}).point.workload == name
