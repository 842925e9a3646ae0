from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pynvml
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from engines.runtime.environments import Environment
from engines.runtime.process import Child, ProcessFailed
from engines.runtime.server import serve
from engines.telemetry.disturbance import Disturbance
from engines.types import Device, Dialect, Endpoint, Serving
from evals.load.prompts import Prompts
from evals.metrics.energy import window
from evals.schema.load import LoadPoint
from evals.schema.trial import NVML
from flows.execute import measure_cell
from flows.execute.keys import PartRequest
from flows.execute.measure_cell import finished_part, reach
from flows.execute.served_parts import Served, _prompts, _speed_and_memory
from flows.plan.load import LoadPlan, workloads
from flows.validate.matrix import Cell, EngineChoice
from quant.types import Scheme
from tests.support.fake_engine import CPU, HERE, fake_engine
from tests.support.planted_nvml import plant_in_children

GPUS = Device("cuda", "planted", frozenset(), 1, ("GPU-0", "GPU-1"))


def test_an_engine_without_environment_is_not_started(tmp_path: Path) -> None:
    scheme = SimpleNamespace(scheme=Scheme("float16"))
    cell, work = cast(Cell, SimpleNamespace(choice=EngineChoice(fake_engine(), {}, ""), quantization=scheme)), Any
    with (
        pytest.raises(ProcessFailed, match="fake has no environment on this device"),
        reach(cell, None, tmp_path, CPU, work, tmp_path / "log"),
    ):
        pass


IMAGE = Environment("here", "here", ("docker", "run", "image"))


@pytest.mark.parametrize(
    ("child", "environment", "foreign"),
    [(object(), HERE, 0.4), (None, None, 0.0), (None, HERE, 0.0), (object(), IMAGE, 0.0)],
    ids=["a child", "attached", "attached, and could be started", "in a container"],
)
def test_cpu_time_of_a_server_that_is_no_child_is_not_that_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, child: object, environment: Environment | None, foreign: float
) -> None:
    """Else all its visits would be repeated for its own work."""
    watch = SimpleNamespace(disturbance=lambda: Disturbance(0.4, 0.05, 0.3, 2.0))
    monkeypatch.setattr(measure_cell, "CpuWatch", lambda _: watch)
    monkeypatch.setattr(measure_cell, "measure_part", lambda served, request, blank: blank)
    endpoint = Endpoint("http://here", "", None, tmp_path, Dialect("none", "usage", None), 0.0, {})
    work, target = SimpleNamespace(step=lambda name, action: action()), SimpleNamespace(measured={})
    anything = cast(Any, None)
    served = Served(
        endpoint, cast(Child, child), environment, anything, tmp_path, CPU, cast(Any, work), cast(Any, target)
    )
    part = finished_part(served, PartRequest("load", {}, {}, LoadPoint(2, 2, 5, 6)))
    others = part.measured["others"]
    assert (others["foreign"], others["steal"]) == (foreign, 0.05)


def test_loads_are_closed_loops_or_arrive_at_a_rate() -> None:
    counts = {"requests": 20, "prompt_tokens": 8, "output_tokens": 4}
    plans = [
        LoadPlan(concurrency=4, **counts),
        LoadPlan(rate_per_second=2, **counts),
        LoadPlan(rate_per_second=0.5, arrivals="gamma", arrival_cv=2.0, **counts),
    ]
    closed, poisson, bursts = (plan.point for plan in plans)
    assert closed == LoadPoint(4, 20, 8, 4)
    assert poisson == LoadPoint(None, 20, 8, 4, 2.0, "poisson", 1.0)
    assert (bursts.arrivals, bursts.arrival_cv) == ("gamma", 2.0)
    assert [load.label for load in (closed, poisson)] == ["concurrency 4", "2 requests/s, poisson"]


def test_a_workload_gives_what_the_plan_does_not() -> None:
    rag = LoadPlan(workload="rag", concurrency=2, requests=4, output_tokens=16)  # type: ignore[call-arg]
    assert rag.point == LoadPoint(2, 4, 1024, 16, workload="rag")
    assert rag.point.label == "rag: concurrency 2"
    chat = LoadPlan(workload="chat", concurrency=1, requests=8)  # type: ignore[call-arg]
    assert (chat.turns, chat.point.longest_tokens) == (4, 128 + 4 * (128 + 128))
    assert LoadPlan(workload="batch-1", rate_per_second=2).point.concurrency is None  # type: ignore[call-arg]


@pytest.mark.parametrize("name", sorted(workloads()))
def test_every_workload_is_a_load(name: str) -> None:
    given = {"concurrency": 1, "requests": 8} | workloads()[name]
    assert LoadPlan(**{**given, "workload": name}).point.workload == name


def test_own_prompts_have_no_special_tokens_of_their_own(tmp_path: Path) -> None:
    """What a server puts before a prompt by itself must not be there twice."""
    tokenizer = Tokenizer(WordLevel({"<s>": 0, "[UNK]": 1, "hello": 2, "world": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert tokenizer.encode("hello").ids == [0, 2]
    (tmp_path / "mine.jsonl").write_text('{"prompt": "hello world"}\n')
    work = SimpleNamespace(own_prompts={"mine.jsonl": tmp_path / "mine.jsonl"}, traces={})
    endpoint = Endpoint("http://here", "", None, tmp_path, Dialect("none", "usage", None), 0.0, {})
    assert _prompts(endpoint, tmp_path, cast(Any, work)).own == {"mine.jsonl": [[2, 3]]}


def test_a_load_is_measured_with_the_energy_of_its_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a planted NVML; the server is a fake, its speed no result."""
    load = LoadPoint(1, 2, 5, 6)
    work = SimpleNamespace(repeats=2, seed=0, stage=lambda *_: lambda _: None)
    with serve(fake_engine(), HERE, Serving(tmp_path, CPU, 1, 64), {}, log=tmp_path / "log") as (endpoint, child):
        plant_in_children(tmp_path, monkeypatch)
        prompts = Prompts(range(10, 40))
        options = {"tensor_parallel": 2}
        cell = SimpleNamespace(choice=EngineChoice(fake_engine(), options, ""))
        served = Served(endpoint, child, None, cast(Any, cell), tmp_path, GPUS, cast(Any, work), cast(Any, None))
        speed, memory = _speed_and_memory(served, load, prompts, 1)
        count = len(child.tree())
    assert memory is not None
    assert (memory.source, memory.peak_bytes, memory.loaded_bytes) == (NVML, 2_000_000 * count, 2_000_000 * count)
    for repeat, gpus in zip(speed.repeats, speed.gpus, strict=True):
        assert [gpu.gpu for gpu in gpus] == [0, 1]
        start, end = window(repeat)
        assert all(gpu.seconds[0] < start < end < gpu.seconds[-1] for gpu in gpus)
        assert {watts for gpu in gpus for watts in gpu.watts} == {100.0, 300.0}
        assert {bits for bits in gpus[1].reasons if bits is not None and bits & pynvml.nvmlClocksEventReasonSwPowerCap}
        assert set(gpus[1].joules) == {None}
