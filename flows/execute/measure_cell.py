"""One cell: serve the checkpoint, pass the gates, time it, then score it in the same server."""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from engines.kv_cache import kv_bytes_per_token
from engines.parallelism import devices
from engines.runtime.environments import Environment
from engines.runtime.process import Child, ProcessFailed
from engines.runtime.prometheus import read_gauges, read_statistics
from engines.runtime.server import attach, serve
from engines.telemetry.kernel_log import kernel_facts
from engines.telemetry.sampler import watch
from engines.types import Device, Endpoint, ServerFailed, Serving, TimeLimits
from evals.accuracy.divergence import Stage
from evals.accuracy.gates import golden_prompt, greedy_answer, require, sanity
from evals.api.formats import prompt_vocabulary
from evals.api.tokenizers import load_tokenizer
from evals.data.corpora import read_prompts
from evals.data.local_root import DataError
from evals.load.benchmark import measure_speed
from evals.load.prompts import Prompts
from evals.load.slo_search import search_capacity
from evals.load.traces import TraceRequest
from evals.metrics.energy import with_gpus
from evals.schema.accuracy import Predictions, Score
from evals.schema.failures import explain
from evals.schema.load import LoadPoint, Speed
from evals.schema.slo import SLO, Search, SearchRange
from evals.schema.trial import IN_USE, NVML, PSS, SET_ASIDE, Gate, Memory, Trial
from flows.execute.quantize_checkpoint import check_whole
from flows.execute.score_cell import Scoring, Target, repeat_predictions, score_cell
from flows.execute.stages import Step, plainly
from flows.sources.models import Model
from flows.validate.matrix import Cell
from quant.checkpoints.inspect import decode_bytes
from quant.types import Checkpoint

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What is measured in every cell of a sweep. `stage(name, total)` opens a progress bar and gives its advance;
    `step` runs each stage; `own_prompts` are the user's files, and `traces` what recorded ones hold, by the names that
    loads have for them.
    """

    loads: tuple[LoadPoint, ...]
    searches: tuple[tuple[SearchRange, SLO], ...]
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
        engine_label=cell.choice.label,
        checkpoint=None,
        provenance=provenance,
        failure=explain(reason) if status == "failed" else None,
    )


def measure(
    blank: Trial,
    cell: Cell,
    checkpoint: Checkpoint,
    environment: Environment | None,
    device: Device,
    work: Work,
    target: Target,
) -> Trial:
    """Measure one cell. A failure of the cell becomes a trial with status failed and the reason."""
    started = time.monotonic()
    logger.info("measuring %s", blank.name)
    known = replace(blank, checkpoint=_summary(checkpoint))
    try:
        check_whole(checkpoint)
        done = _measure(known, cell, Path(checkpoint.folder), environment, device, work, target)
    except Exception as error:  # whatever one cell does becomes its row; the sweep goes on
        with contextlib.suppress(OSError):  # a full disk must not hide what happened before
            target.log.with_suffix(".traceback").write_text(traceback.format_exc(), encoding="utf-8")
        expected = isinstance(error, (ProcessFailed, ServerFailed, DataError))
        reason = str(error) if expected else f"{type(error).__name__}: {error}"
        seconds = {"total": time.monotonic() - started}
        return replace(known, status="failed", reason=reason, failure=explain(reason, target.log), seconds=seconds)
    return replace(done, seconds={**done.seconds, "total": time.monotonic() - started})


def _summary(checkpoint: Checkpoint) -> dict[str, Any]:
    summary = asdict(checkpoint)
    del summary["folder"], summary["files"]
    return summary | {"scheme_label": checkpoint.spec.scheme.label}


def _measure(
    blank: Trial, cell: Cell, folder: Path, environment: Environment | None, device: Device, work: Work, target: Target
) -> Trial:
    work.stage("start", 1)
    with contextlib.ExitStack() as life:
        reach = _reach(cell, environment, folder, device, work, target.log)
        endpoint, child = work.step("start", lambda: life.enter_context(reach))
        gates = work.step("gates", lambda: _gates(endpoint, cell, target.model, work))
        began = time.monotonic()
        prompts = _prompts(endpoint, folder, work)
        on = device.kind, devices(cell.choice.options)
        speed, memory = work.step("speed", lambda: _speed_and_memory(endpoint, child, prompts, on, work))
        memory = memory and _with_kv(memory, endpoint, cell, folder)
        searches = _searched(endpoint, prompts, work)
        speed_seconds = time.monotonic() - began
        statistics = _statistics(endpoint)
        kernels = kernel_facts(target.log)  # now: some kernels are chosen, and told, at the first request
        scored = score_cell(endpoint, folder, work.scoring, target, work.stage, work.step)
    repeated: tuple[Predictions, ...] = ()
    if cell.quantization.scheme.unquantized and any(spec.repeat for spec in work.scoring.predictions):
        repeated = work.step(
            "predictions again", lambda: _predictions_again(cell, environment, folder, device, work, target)
        )
    return replace(
        blank,
        status="ok",
        checkpoint={**(blank.checkpoint or {}), "decode_bytes": decode_bytes(cell.quantization.format, folder)},
        facts={**endpoint.facts, **statistics, **kernels},
        startup_seconds=endpoint.startup_seconds,
        gates=(*gates, *scored.gates),
        speed=tuple(speed),
        searches=tuple(searches),
        memory=memory,
        scores=scored.scores if cell.quantization.scheme.unquantized else _without_texts(scored.scores),
        perplexities=scored.perplexities,
        predictions=(*scored.predictions, *repeated),
        seconds={
            "start": endpoint.startup_seconds,
            "speed": speed_seconds,
            "accuracy": time.monotonic() - began - speed_seconds,
        },
    )


def _without_texts(scores: Sequence[Score]) -> tuple[Score, ...]:
    """The baseline has those of the same items."""
    return tuple(replace(score, texts=()) for score in scores)


def _searched(endpoint: Endpoint, prompts: Prompts, work: Work) -> list[Search]:
    if not work.searches:
        return []
    return work.step(
        "search",
        lambda: search_capacity(
            endpoint, work.searches, prompts, repeats=work.repeats, seed=work.seed, stage=work.stage
        ),
    )


def repeat_log(log: Path) -> Path:
    """Where a server writes that is started again."""
    return log.with_suffix(".repeat.log")


def _predictions_again(
    cell: Cell, environment: Environment | None, folder: Path, device: Device, work: Work, target: Target
) -> tuple[Predictions, ...]:
    """The baseline's own noise: the same prompts in another run of its server."""
    with _reach(cell, environment, folder, device, work, repeat_log(target.log)) as (again, _):
        return repeat_predictions(again, folder, work.scoring, target, work.stage)


@contextlib.contextmanager
def _reach(
    cell: Cell, environment: Environment | None, folder: Path, device: Device, work: Work, log: Path
) -> Iterator[tuple[Endpoint, Child | None]]:
    """The cell's server: started here and stopped in the end, or one that runs already."""
    choice, scheme = cell.choice, cell.quantization.scheme
    if choice.attached:
        yield replace(attach(choice.engine, choice.attached, folder, log), limits=work.time_limits), None
        return
    if environment is None:
        raise ProcessFailed(f"{choice.engine.name} has no environment on this device")
    wanted = Serving(folder, device, work.threads, work.max_model_len, scheme=scheme)
    with serve(choice.engine, environment, wanted, choice.options, log=log, limits=work.time_limits) as started:
        yield started


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
    return Prompts(prompt_vocabulary(endpoint, folder), own=own, traces=work.traces)


def _speed_and_memory(
    endpoint: Endpoint, child: Child | None, prompts: Prompts, on: tuple[str, int], work: Work
) -> tuple[list[Speed], Memory | None]:
    """Speed with what the GPUs told meanwhile, and the memory of the server's processes; None for a server that is not
    ours to look into. `on`: the kind of device, and how many of them the server has.
    """
    advance = work.stage("speed", work.repeats * sum(load.requests for load in work.loads))

    def load() -> list[Speed]:
        return measure_speed(endpoint, work.loads, prompts, repeats=work.repeats, seed=work.seed, advance=advance)

    if child is None:
        return load(), None
    kind, count = on
    with watch(child, kind) as seen:
        speeds = load()
    readings = seen.readings_of(count)
    kv_bytes, kv_source = _kv_cache(endpoint)
    weights = endpoint.facts.get("weights_bytes")
    return [with_gpus(speed, readings) for speed in speeds], Memory(
        source=NVML if kind == "cuda" else PSS,
        loaded_bytes=seen.loaded_bytes,
        peak_bytes=seen.peak_bytes,
        weights_bytes=int(weights) if weights is not None else None,
        kv_cache_bytes=kv_bytes,
        kv_source=kv_source,
        samples=seen.memory_samples(),
    )


def _with_kv(memory: Memory, endpoint: Endpoint, cell: Cell, folder: Path) -> Memory:
    """What one token takes of the KV cache, where engine or configuration tell."""
    per_token = kv_bytes_per_token(endpoint.facts, cell.choice.options, folder)
    return (
        memory if per_token is None else replace(memory, kv_bytes_per_token=per_token[0], kv_token_source=per_token[1])
    )


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
