"""What is measured in a server that answers, part by part, and what the server says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engines.kv_cache import kv_bytes_per_token
from engines.parallelism import devices
from engines.runtime.environments import Environment
from engines.runtime.process import Child
from engines.runtime.prometheus import read_gauges, read_statistics
from engines.telemetry.host import utc_now
from engines.telemetry.kernel_log import kernel_facts
from engines.telemetry.sampler import watch
from engines.types import ATTACHED_SERVER, Device, Endpoint, TimeLimits
from evals.accuracy.divergence import Stage
from evals.api.formats import prompt_vocabulary
from evals.api.tokenizers import load_tokenizer
from evals.data.corpora import read_prompts
from evals.load.benchmark import measure_speed
from evals.load.prompts import Prompts
from evals.load.slo_search import confirm_capacity, search_capacity
from evals.load.traces import TraceRequest
from evals.metrics.energy import with_gpus
from evals.schema.load import LoadPoint, Speed
from evals.schema.part import GATES, Part, find_part
from evals.schema.trial import IN_USE, NVML, PSS, SET_ASIDE, Gate, Memory, Trial
from evals.tasks.loaded_tasks import TaskSpec
from flows.execute.keys import Confirmation, PartRequest, SearchSpec, TextSpec
from flows.execute.score_cell import Scoring, Target, predict, score_task, score_text
from flows.state.stages import Step, plainly
from flows.validate.matrix import Cell
from quant.checkpoints.inspect import decode_bytes


@dataclass(frozen=True)
class Work:
    """How every cell of a sweep is measured. `stage(name, total)` opens a progress bar and gives its advance;
    `step` runs each stage; `own_prompts` are the user's files, and `traces` what recorded ones hold, by the names that
    loads have for them.
    """

    repeats: int
    seed: int
    threads: int
    max_model_len: int
    scoring: Scoring
    stage: Stage
    own_prompts: Mapping[str, Path]
    traces: Mapping[str, Sequence[TraceRequest]]
    time_limits: TimeLimits
    step: Step = plainly


@dataclass(frozen=True)
class Served:
    """A cell's server that answers: where, its process (None where it is not ours), and what it serves."""

    endpoint: Endpoint
    child: Child | None
    environment: Environment | None
    cell: Cell
    folder: Path
    device: Device
    work: Work
    target: Target

    @property
    def is_child(self) -> bool:
        """Whether it is a process of ours: it is none where it ran already, or runs in a container."""
        return self.child is not None and self.environment is not None and not self.environment.is_container


def measure_part(served: Served, request: PartRequest, blank: Part) -> Part:
    """`blank` with what was measured for it. Raises what its load or scoring does."""
    endpoint, folder, work, target = served.endpoint, served.folder, served.work, served.target
    arguments = endpoint, folder, work.scoring, target
    match request.subject:
        case LoadPoint() as load:
            speed, memory = _speed_and_memory(served, load, _prompts(endpoint, folder, work), request.visit)
            return replace(blank, speed=(speed,), memory=memory)
        case SearchSpec(within, limits):
            prompts = _prompts(endpoint, folder, work)
            searched = search_capacity(
                endpoint, within, limits, prompts, repeats=work.repeats, seed=work.seed, stage=work.stage
            )
            return replace(blank, searches=(searched,))
        case Confirmation(search_key):
            part = find_part(target.folder, search_key)
            prompts = _prompts(endpoint, folder, work)
            confirmed = [
                confirm_capacity(endpoint, search, prompts, repeats=work.repeats, seed=work.seed, stage=work.stage)
                for search in (part.searches if part else ())
            ]
            return replace(blank, searches=tuple(confirmed))
        case TaskSpec() as task:
            part = score_task(*arguments, task, blank, work.stage)
            if served.cell.quantization.scheme.unquantized:
                return part
            return replace(
                part, scores=tuple(replace(score, texts=()) for score in part.scores)
            )  # its baseline has them
        case TextSpec(conventions):
            return score_text(*arguments, conventions, blank, work.stage)
    return predict(*arguments, request, blank, work.stage)


def origin_of(served: Served) -> dict[str, Any]:
    """When, where and by which commit a part is begun, and at which server that somebody else runs."""
    server = served.endpoint.facts.get(ATTACHED_SERVER)
    return {**served.target.measured, "started": utc_now(), **({ATTACHED_SERVER: server} if server else {})}


def server_part(blank: Trial, served: Served, gates: tuple[Gate, ...], *, loaded: bool) -> Part:
    """The gates, and what the server says of itself after what was timed: some kernels are chosen, and told, at the
    first request. What an earlier server said stays where this one says nothing.
    """
    target, endpoint = served.target, served.endpoint
    request = next(request for request in target.parts if request.name == GATES)
    before = find_part(target.folder, request.key)
    origin = origin_of(served)
    if before and before.attached_server != origin.get(ATTACHED_SERVER):
        before = None  # another server's
    facts = {**(before.facts if before else {}), **endpoint.facts, **kernel_facts(target.log)}
    if endpoint.dialect.statistics and (loaded or before is None):  # what it counted of gates and load
        facts |= read_statistics(endpoint.url + endpoint.dialect.statistics, endpoint.headers)
    return Part(
        request.key,
        request.name,
        request.inputs,
        origin,
        gates=gates,
        facts=facts,
        startup_seconds=endpoint.startup_seconds,
        checkpoint={
            **(blank.checkpoint or {}),
            "decode_bytes": decode_bytes(served.cell.quantization.format, served.folder),
        },
    )


def _speed_and_memory(served: Served, load: LoadPoint, prompts: Prompts, visit: int) -> tuple[Speed, Memory | None]:
    """Speed with what the GPUs told meanwhile, and the memory of the server's processes; None for a server that is not
    ours to look into.
    """
    endpoint, work, kind = served.endpoint, served.work, served.device.kind
    advance = work.stage("speed", work.repeats * load.requests)

    def measured() -> Speed:
        (speed,) = measure_speed(
            endpoint, [load], prompts, repeats=work.repeats, seed=work.seed, visit=visit, advance=advance
        )
        return speed

    if served.child is None:
        return measured(), None
    with watch(served.child, kind) as seen:
        speed = measured()
    kv_bytes, kv_source = _kv_cache(endpoint)
    weights = endpoint.facts.get("weights_bytes")
    memory = Memory(
        source=NVML if kind == "cuda" else PSS,
        loaded_bytes=seen.loaded_bytes,
        peak_bytes=seen.peak_bytes,
        weights_bytes=int(weights) if weights is not None else None,
        kv_cache_bytes=kv_bytes,
        kv_source=kv_source,
        samples=seen.memory_samples(),
    )
    readings = seen.readings_of(devices(served.cell.choice.options))
    return with_gpus(speed, readings), _with_kv(memory, endpoint, served.cell, served.folder)


def _prompts(endpoint: Endpoint, folder: Path, work: Work) -> Prompts:
    """What loads are made of, in the ids of the served checkpoint; special ones are for the server to add."""
    tokenizer = load_tokenizer(folder)

    def ids(file: Path) -> list[list[int]]:
        return [tokenizer.encode(text, add_special_tokens=False).ids for text in read_prompts(file)]

    own = {name: ids(file) for name, file in work.own_prompts.items()}
    return Prompts(prompt_vocabulary(endpoint, folder), own=own, traces=work.traces)


def _with_kv(memory: Memory, endpoint: Endpoint, cell: Cell, folder: Path) -> Memory:
    """What one token takes of the KV cache, where engine or configuration tell."""
    per_token = kv_bytes_per_token(endpoint.facts, cell.choice.options, folder)
    return (
        memory if per_token is None else replace(memory, kv_bytes_per_token=per_token[0], kv_token_source=per_token[1])
    )


def _kv_cache(endpoint: Endpoint) -> tuple[int | None, str | None]:
    """KV bytes that were really used, where the server tells its peak; else what it set aside."""
    gauge = endpoint.dialect.kv_peak_gauge
    if gauge and endpoint.metrics_url:
        gauges = read_gauges(endpoint.metrics_url, endpoint.headers)
        if gauge in gauges:
            return int(gauges[gauge]), IN_USE
    reserved = endpoint.facts.get("kv_cache_bytes")
    return (int(reserved), SET_ASIDE) if reserved is not None else (None, None)
