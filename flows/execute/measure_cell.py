"""One cell: serve the checkpoint, pass the gates, time it, then score it in the same server."""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from engines.redaction import redacted
from engines.runtime.environments import Environment
from engines.runtime.process import Child, ProcessFailed
from engines.runtime.server import attach, serve
from engines.telemetry.disturbance import CpuWatch
from engines.types import ATTACHED_SERVER, Device, Endpoint, ServerFailed, Serving
from evals.accuracy.gates import apart_from_source_grid, golden_prompt, greedy_answer, require, sanity
from evals.api.tokenizers import load_tokenizer
from evals.data.local_root import DataError
from evals.schema.failures import failure_of
from evals.schema.load import LoadPoint
from evals.schema.part import GATES, Part, find_part, finished_parts, joined_memory, joined_searches, save_part
from evals.schema.secrets_hidden import without_secrets
from evals.schema.trial import Gate, Trial
from flows.execute.keys import PartRequest, SearchSpec, decodes_alone
from flows.execute.quantize_checkpoint import check_whole
from flows.execute.score_cell import Target, scoring_gates
from flows.execute.served_parts import Served, Work, measure_part, origin_of, server_part
from flows.validate.matrix import Cell
from quant.canonical_json import write_whole
from quant.errors import is_failure
from quant.types import Checkpoint

logger = logging.getLogger(__name__)


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
    """Measure what of a cell is not there yet. A failure becomes a trial with status failed and the reason; the parts
    that were finished before it are kept.
    """
    started = time.monotonic()
    logger.info("measuring %s", blank.name)
    facts = {name: value for name, value in asdict(checkpoint).items() if name not in ("folder", "files")}
    known = replace(blank, checkpoint=facts | {"scheme_label": checkpoint.spec.scheme.label})
    try:
        check_whole(checkpoint)
        _measure(known, cell, Path(checkpoint.folder), environment, device, work, target)
        done = assembled(known, target, work.scoring.window_tokens)
        if done is None:
            raise DataError(f"a part of the cell is missing in {target.folder}. Sweep again")
        return done
    except BaseException as error:  # whatever one cell does becomes its row; the sweep goes on
        if not is_failure(error):
            raise
        with contextlib.suppress(OSError):  # a full disk must not hide what happened before
            write_whole(target.log.with_suffix(".traceback"), redacted(traceback.format_exc()))
        failure, seconds = failure_of(error, log=target.log), {"total": time.monotonic() - started}
        return replace(known, status="failed", reason=failure.cause, failure=failure, seconds=seconds)


def _measure(
    blank: Trial, cell: Cell, folder: Path, environment: Environment | None, device: Device, work: Work, target: Target
) -> None:
    """One server for all parts that are missing, and another for what is read again. Parts of another server than the
    one that is behind an address now are measured again. Raises ServerFailed where another one answers in between.
    """
    parts = {request.key: find_part(target.folder, request.key) for request in target.parts}
    missing = [request for request in target.parts if parts[request.key] is None]
    mixed = len({part.attached_server for part in parts.values() if part}) > 1
    first = None  # what an attached server says of itself
    if mixed or cell.choice.attached or not all(request.again for request in missing):
        work.stage("start", 1)
        with contextlib.ExitStack() as life:
            server = reach(cell, environment, folder, device, work, target.log)
            endpoint, child = work.step("start", lambda: life.enter_context(server))
            served = Served(endpoint, child, environment, cell, folder, device, work, target)
            first = endpoint.facts.get(ATTACHED_SERVER)
            missing = _missing(target, parts, endpoint)
            _measure_parts(blank, served, [request for request in missing if not request.again])
    again = [request for request in missing if request.again]
    if again:
        with reach(cell, environment, folder, device, work, repeat_log(target.log)) as (endpoint, child):
            if (second := endpoint.facts.get(ATTACHED_SERVER)) != first:
                message = f"another server answered: {first}, then {second}. Attach to one server's own address"
                raise ServerFailed(message, kind="unreachable-server")
            served = Served(endpoint, child, environment, cell, folder, device, work, target)
            for request in again:
                _finish(served, request)


def _missing(target: Target, parts: Mapping[str, Part | None], endpoint: Endpoint) -> list[PartRequest]:
    """What is to be measured at this server: what was not found, by key, or is of another one."""
    server = endpoint.facts.get(ATTACHED_SERVER) or None
    others = {key: part for key, part in parts.items() if part is not None and part.attached_server != server}
    if others:
        names = ", ".join(part.name for part in others.values())
        before = ", ".join(sorted({str(part.attached_server) for part in others.values()}))
        logger.warning(
            "%s is another server now (%s) than before (%s): measured again: %s", endpoint.url, server, before, names
        )
    return [request for request in target.parts if parts[request.key] is None or request.key in others]


def _measure_parts(blank: Trial, served: Served, missing: Sequence[PartRequest]) -> None:
    """In a server that passes the gates: first what is timed, then what is scored."""
    gates = served.work.step("gates", lambda: _gates(served))
    timed = [request for request in missing if isinstance(request.subject, LoadPoint | SearchSpec)]
    for request in timed:
        _finish(served, request)
    save_part(served.target.folder, without_secrets(server_part(blank, served, gates, loaded=bool(timed))))
    for request in missing:
        if request.subject is not None and request not in timed:
            _finish(served, request)


def _finish(served: Served, request: PartRequest) -> None:
    """Measure one part, and keep it."""
    save_part(served.target.folder, without_secrets(finished_part(served, request)))


def finished_part(served: Served, request: PartRequest) -> Part:
    """One part, with what else the machine did while a load was timed."""
    began, origin = time.monotonic(), origin_of(served)
    if decodes_alone(request):
        origin["bandwidth"] = served.target.bandwidth
    blank, watch = Part(request.key, request.name, request.inputs, origin), CpuWatch(served.child)
    part = served.work.step(request.name, lambda: measure_part(served, request, blank))
    if isinstance(request.subject, LoadPoint):
        others = watch.disturbance()
        if not served.is_child:  # its own CPU time would count as that of others
            others = replace(others, foreign=0.0)
        part = replace(part, measured={**part.measured, "others": asdict(others)})
    return replace(part, seconds=time.monotonic() - began)


def assembled(blank: Trial, target: Target, window_tokens: int) -> Trial | None:
    """The trial that all parts make together; None where one is missing, or they are of several servers."""
    parts = finished_parts(target.folder, [request.key for request in target.parts])
    if parts is None:
        return None
    server = next(part for part in parts if part.name == GATES)
    timed = sum(part.seconds for part in parts if part.speed or part.searches)
    start, total = server.startup_seconds or 0.0, sum(part.seconds for part in parts)
    origins = [part.measured for part in parts]
    return replace(
        blank,
        status="ok",
        checkpoint=server.checkpoint,
        facts=server.facts,
        startup_seconds=server.startup_seconds,
        gates=(*server.gates, *scoring_gates(parts, window_tokens, calibrated=bool(target.calibration))),
        speed=tuple(speed for part in parts for speed in part.speed),
        searches=joined_searches([search for part in parts for search in part.searches]),
        memory=joined_memory([part.memory for part in parts if part.memory]),
        scores=tuple(score for part in parts for score in part.scores),
        perplexities=tuple(perplexity for part in parts for perplexity in part.perplexities),
        predictions=tuple(predictions for part in parts for predictions in part.predictions),
        seconds={
            **{part.name: part.seconds for part in parts},
            "start": start,
            "speed": timed,
            "accuracy": total - timed,
            "total": start + total,
        },
        provenance={
            **blank.provenance,
            "measured": server.measured,
            "parts": {part.name: part.measured for part in parts},
            "commit": ", ".join(dict.fromkeys(origin["commit"] for origin in origins if origin.get("commit"))),
            "bandwidth": next((origin["bandwidth"] for origin in origins if origin.get("bandwidth")), None),
        },
        parts={part.name: part.key for part in parts},
        inputs={"server": dict(target.parts[0].server), **{r.name: dict(r.own) for r in target.parts}},
    )


def repeat_log(log: Path) -> Path:
    """Where a server writes that is started again."""
    return log.with_suffix(".repeat.log")


@contextlib.contextmanager
def reach(
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


def _gates(served: Served) -> tuple[Gate, ...]:
    endpoint, cell, model = served.endpoint, served.cell, served.target.model
    advance = served.work.stage("gates", 2)
    made = cell.quantization
    gates = [apart_from_source_grid(model.folder, served.folder, made.format, made.scheme)]
    if endpoint.dialect.prompt_logprobs == "none":
        expected = None
        if cell.computes_exactly:
            expected = load_tokenizer(model.folder).decode(model.reference["greedy_ids"])
        gates.append(require(greedy_answer(endpoint, model.reference, expected)))
        advance(2)
        return tuple(gates)
    if cell.computes_exactly:
        dtype = str(endpoint.facts.get("dtype", "unknown"))
        gates.append(require(golden_prompt(endpoint, model.reference, dtype, made.scheme.weights)))
    advance(1)
    gates.append(require(sanity(endpoint, model.reference)))
    advance(1)
    return tuple(gates)
