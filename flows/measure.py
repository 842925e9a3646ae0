"""One cell: serve the checkpoint, pass the gates, time it, then score it in the same server."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from engines.environment import Environment
from engines.kernels import kernel_facts
from engines.kv import kv_bytes_per_token
from engines.memory import sample, watch
from engines.metrics import read_gauges, read_statistics
from engines.process import Child, ProcessFailed
from engines.server import attach, serve
from engines.spec import Device, Endpoint
from evals.ask import ScoringFailed
from evals.capacity import search_capacity
from evals.closeness import Stage
from evals.gates import GateFailed, golden_prompt, greedy_answer, require, sanity
from evals.record import (
    IN_USE,
    NVML,
    PSS,
    SET_ASIDE,
    Closeness,
    Gate,
    LoadPoint,
    Memory,
    SearchRange,
    ServiceLimits,
    Speed,
    Trial,
)
from evals.speed import LoadFailed, measure_speed
from evals.tasks import DataError
from evals.texts import read_prompts
from evals.tokenizer import load_tokenizer
from evals.wire import prompt_vocabulary
from evals.workload import Prompts
from flows.cells import Cell, EngineChoice
from flows.score import Scoring, Target, repeat_closeness, score_cell
from flows.sources import Model
from quant.formats import decode_bytes
from quant.spec import Checkpoint


@dataclass(frozen=True)
class Work:
    """What is measured in every cell of a sweep. `stage(name, total)` opens a progress bar and gives its advance;
    `own_prompts` are the user's files by the names that loads have for them.
    """

    loads: tuple[LoadPoint, ...]
    searches: tuple[tuple[SearchRange, ServiceLimits], ...]
    repeats: int
    seed: int
    threads: int
    max_model_len: int
    scoring: Scoring
    stage: Stage
    own_prompts: Mapping[str, Path]


def blank_trial(cell: Cell, key: str, status: Any, reason: str, device: str, provenance: dict[str, Any]) -> Trial:
    """A row without measurements: unsupported, failed, or still to be filled."""
    return Trial(
        key=key,
        status=status,
        reason=reason,
        model=cell.model.name,
        method=cell.quantization.method.name,
        method_label=cell.quantization.label,
        engine=cell.choice.engine.name,
        device=device,
        checkpoint=None,
        provenance=provenance,
    )


def measure(
    blank: Trial, cell: Cell, checkpoint: Checkpoint, environment: Environment | None, device: Device, work: Work,
    target: Target,
) -> Trial:  # fmt: skip
    """Measure one cell. A failure of the cell becomes a trial with status failed and the reason."""
    started = time.monotonic()
    known = replace(blank, checkpoint=_summary(checkpoint))
    try:
        done = _measure(known, cell, Path(checkpoint.folder), environment, device, work, target)
    except Exception as error:  # whatever one cell does becomes its row; the sweep goes on
        target.log.with_suffix(".traceback").write_text(traceback.format_exc(), encoding="utf-8")
        said = isinstance(error, (ProcessFailed, GateFailed, LoadFailed, ScoringFailed, DataError))
        reason = str(error) if said else f"{type(error).__name__}: {error}"
        return replace(known, status="failed", reason=reason, seconds={"total": time.monotonic() - started})
    return replace(done, seconds={**done.seconds, "total": time.monotonic() - started})


def _summary(checkpoint: Checkpoint) -> dict[str, Any]:
    kept = asdict(checkpoint)
    del kept["folder"], kept["files"]
    return kept | {"scheme_label": checkpoint.spec.scheme.label}


def _measure(
    blank: Trial, cell: Cell, folder: Path, environment: Environment | None, device: Device, work: Work,
    target: Target,
) -> Trial:  # fmt: skip
    work.stage("start", 1)
    with _reach(cell.choice, environment, folder, device, work, target.log) as (endpoint, child):
        gates = _gates(endpoint, cell, target.model, work)
        began = time.monotonic()
        prompts = _prompts(endpoint, folder, work)
        speed, memory = _speed_and_memory(endpoint, child, prompts, device.kind, work)
        memory = memory and _with_kv(memory, endpoint, cell, folder)
        searches = search_capacity(
            endpoint, work.searches, prompts, repeats=work.repeats, seed=work.seed, stage=work.stage
        )
        speed_seconds = time.monotonic() - began
        statistics = _statistics(endpoint)
        kernels = kernel_facts(target.log)  # now: some kernels are chosen, and told, at the first request
        found = score_cell(endpoint, folder, work.scoring, target, work.stage)
    repeated: tuple[Closeness, ...] = ()
    if cell.quantization.scheme.unquantized and any(one.repeat for one in work.scoring.closeness):
        log = target.log.with_suffix(".repeat.log")
        with _reach(cell.choice, environment, folder, device, work, log) as (again, _):
            repeated = repeat_closeness(again, folder, work.scoring, target, work.stage)
    return replace(
        blank,
        status="ok",
        checkpoint={**(blank.checkpoint or {}), "decode_bytes": decode_bytes(cell.quantization.format, folder)},
        facts={**endpoint.facts, **statistics, **kernels},
        startup_seconds=endpoint.startup_seconds,
        gates=(*gates, *found.gates),
        speed=tuple(speed),
        searches=tuple(searches),
        memory=memory,
        scores=found.scores,
        perplexities=found.perplexities,
        closeness=(*found.closeness, *repeated),
        seconds={
            "start": endpoint.startup_seconds,
            "speed": speed_seconds,
            "accuracy": time.monotonic() - began - speed_seconds,
        },
    )


@contextlib.contextmanager
def _reach(
    choice: EngineChoice, environment: Environment | None, folder: Path, device: Device, work: Work, log: Path
) -> Iterator[tuple[Endpoint, Child | None]]:
    """The cell's server: started here and stopped in the end, or one that runs already."""
    if choice.attached:
        yield attach(choice.engine, choice.attached, folder, log), None
        return
    if environment is None:
        raise ProcessFailed(f"{choice.engine.name} has no environment on this device")
    with serve(
        choice.engine, environment, folder, device, choice.options, threads=work.threads,
        max_model_len=work.max_model_len, log=log,
    ) as (endpoint, child):  # fmt: skip
        yield endpoint, child


def _gates(endpoint: Endpoint, cell: Cell, model: Model, work: Work) -> tuple[Gate, ...]:
    advance = work.stage("gates", 2)
    gates = []
    if endpoint.dialect.prompt_logprobs == "none":
        expected = None
        if cell.quantization.scheme.unquantized:
            expected = load_tokenizer(model.folder).decode(model.reference["greedy_ids"])
        gates.append(require(greedy_answer(endpoint, model.reference, expected)))
        advance(2)
        return tuple(gates)
    if cell.quantization.scheme.unquantized:
        dtype = str(endpoint.facts.get("dtype", "unknown"))  # a server that does not say gets the widest tolerance
        gates.append(require(golden_prompt(endpoint, model.reference, dtype)))
    advance(1)
    gates.append(require(sanity(endpoint, model.reference)))
    advance(1)
    return tuple(gates)


def _prompts(endpoint: Endpoint, folder: Path, work: Work) -> Prompts:
    """What loads are made of, in the ids of the served checkpoint; special ones are for the server to add."""
    tokenizer = load_tokenizer(folder)

    def ids(file: Path) -> list[list[int]]:
        return [tokenizer.encode(text, add_special_tokens=False).ids for text in read_prompts(file)]

    own = {name: ids(file) for name, file in work.own_prompts.items()}
    return Prompts(prompt_vocabulary(endpoint, folder), own=own)


def _speed_and_memory(
    endpoint: Endpoint, child: Child | None, prompts: Prompts, kind: str, work: Work
) -> tuple[list[Speed], Memory | None]:
    """Speed, and the memory of the server's processes; None for a server that is not ours to look into."""
    advance = work.stage("speed", work.repeats * sum(load.requests for load in work.loads))

    def load() -> list[Speed]:
        return measure_speed(endpoint, work.loads, prompts, repeats=work.repeats, seed=work.seed, advance=advance)

    if child is None:
        return load(), None
    loaded = sample(child)
    with watch(child) as seen:
        speed = load()
    on_gpu = kind == "cuda"
    kv_bytes, kv_source = _kv_cache(endpoint)
    weights = endpoint.facts.get("weights_bytes")
    return speed, Memory(
        source=NVML if on_gpu else PSS,
        loaded_bytes=loaded[1] if on_gpu else loaded[0],
        peak_bytes=seen.peak_device_bytes if on_gpu else seen.peak_host_bytes,
        weights_bytes=int(weights) if weights is not None else None,
        kv_cache_bytes=kv_bytes,
        kv_source=kv_source,
    )


def _with_kv(memory: Memory, endpoint: Endpoint, cell: Cell, folder: Path) -> Memory:
    """What one token takes of the KV cache, where engine or configuration tell."""
    found = kv_bytes_per_token(endpoint.facts, cell.choice.options, folder)
    return memory if found is None else replace(memory, kv_bytes_per_token=found[0], kv_token_source=found[1])


def _statistics(endpoint: Endpoint) -> dict[str, float]:
    """What the server counted of gates and load, where it tells."""
    path = endpoint.dialect.statistics
    return read_statistics(endpoint.url + path, endpoint.headers) if path else {}


def _kv_cache(endpoint: Endpoint) -> tuple[int | None, str | None]:
    """KV bytes that were really used, where the server tells its peak; else what it set aside."""
    gauge = endpoint.dialect.kv_peak_gauge
    if gauge and endpoint.metrics_url:
        gauges = read_gauges(endpoint.metrics_url, endpoint.headers)
        if gauge in gauges:
            return int(gauges[gauge]), IN_USE
    reserved = endpoint.facts.get("kv_cache_bytes")
    return (int(reserved), SET_ASIDE) if reserved is not None else (None, None)
