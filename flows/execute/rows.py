"""The steps of a sweep as plain functions. `flows.orchestration.sweep` wraps them for Prefect; nothing here knows of
it.
"""

from __future__ import annotations

import logging
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from engines.runtime.child_environment import passed_variables
from engines.telemetry.device import machine_slots
from engines.telemetry.disturbance import sentinel
from engines.telemetry.host import SESSION, cpu_model, host_id, utc_now
from engines.telemetry.machine import this_machine
from engines.telemetry.memory_bandwidth import memory_bandwidth
from evals.accuracy.contamination import Runs, runs
from evals.schema.accuracy import Score
from evals.schema.failures import because, failure_of
from evals.schema.part import find_part, finished_parts
from evals.schema.secrets_hidden import without_secrets
from evals.schema.trial import Failure, Trial
from evals.schema.trial_file import read_trial
from evals.tasks.loaded_tasks import LoadedTasks
from flows.execute.keys import decodes_alone
from flows.execute.manifest import commit, versions
from flows.execute.measure_cell import assembled, blank_trial, measure, repeat_log
from flows.execute.prepared import Prepared, Row
from flows.execute.quantize_checkpoint import Job, OnProgress, quantize
from flows.execute.quantize_checkpoint import finished as finished_checkpoint
from flows.execute.score_cell import Target
from flows.execute.spec import work_of
from flows.plan.schema import Plan
from flows.sources.calibration import write_calibration
from flows.state.locks import hold, slots
from flows.state.progress_display import Display
from flows.state.stages import Step, plainly
from flows.state.status import running_lock
from flows.validate.matrix import Cell
from quant.canonical_json import write_json
from quant.errors import CellFailure, is_failure
from quant.types import CalibrationSpec, Checkpoint

logger = logging.getLogger(__name__)


class NoBaseline(CellFailure):
    """What chooses the items of an adaptive cell is not known."""

    kind = "missing-baseline"


def slug(cell: Cell) -> str:
    """Without the label of the engine's options: what else is in the plan changes it, and the cell stays the same."""
    name = f"{cell.model.name}_{cell.quantization.label} · {cell.choice.engine.name}"
    return re.sub(r"[^A-Za-z0-9.-]+", "_", name)[:80]


def finished(row: Row) -> Trial | None:
    """The row's trial if it was finished before, whatever its status, also where its model had another name then."""
    if row.file.exists():
        return read_trial(row.file)
    for file in sorted(row.file.parent.glob(f"*-{row.key[:12]}.json")):
        if (trial := read_trial(file)).key == row.key:
            return save_trial(row, replace(trial, model=row.cell.model.name))
    return None


def save_trial(row: Row, trial: Trial) -> Trial:
    """Write it, without keys that a server or a program may have said."""
    trial = without_secrets(trial)
    write_json(row.file, trial, compact=True)
    logger.info("%s: %s, written to %s", trial.name, trial.status, row.file)
    return trial


def unsupported_trial(prepared: Prepared, row: Row) -> Trial:
    return save_trial(row, _blank(prepared, row, "unsupported", row.cell.unsupported or ""))


def failed_trial(prepared: Prepared, row: Row, failure: Failure) -> Trial:
    return save_trial(row, replace(_blank(prepared, row, "failed", failure.cause), failure=failure))


def _blank(prepared: Prepared, row: Row, status: str, reason: str) -> Trial:
    sweep = prepared.sweep
    provenance = {
        "seed": sweep.plan.seed,
        "threads": sweep.plan.thread_count,
        "data": sweep.plan.data,
        "accuracy": sweep.plan.accuracy.model_dump(),
        "engine_options": dict(row.cell.choice.options),
        "environment": row.cell.environment,
        "passed_variables": passed_variables(),
        "attached": row.cell.choice.attached.url if row.cell.choice.attached else None,
        "program": versions(),
        "commit": commit(),
        "machine": asdict(this_machine(sweep.device.kind)),
        "python": sys.version.split()[0],
    }
    return blank_trial(row.cell, row.key, status, reason, sweep.device.name, provenance)


def has_checkpoint(row: Row) -> bool:
    """True if the row's checkpoint was finished before."""
    return row.job is not None and finished_checkpoint(row.job) is not None


def note_missing(prepared: Prepared, missing: Mapping[str, Failure]) -> None:
    """Failed rows for the cells whose environment could not be built (`missing`: why, by its name) or whose model has
    no reference. Cells that failed for want of an environment or with their baseline, and have all that they need
    now, are tried again.
    """
    for row in prepared.rows:
        needed = (row.cell.quantization.method.environment, row.cell.environment)
        failure = next((missing[name] for name in needed if name in missing), None)
        if row.job is not None:
            failure = failure or row.job.model.failure
        trial = finished(row)
        if trial is None and failure is not None and row.job is not None:
            failed_trial(prepared, row, failure)
        elif (
            failure is None
            and trial
            and trial.failure
            and trial.failure.kind in ("missing-environment", "failed-baseline")
        ):
            row.file.unlink()


def quantize_row(prepared: Prepared, row: Row, display: Display) -> Checkpoint | Failure:
    """The checkpoint of a row that is supported, or why there is none."""
    if row.job is None:
        raise ValueError(f"{row.cell.name} is unsupported: {row.cell.unsupported}")
    if (done := finished_checkpoint(row.job)) is not None:
        return done
    try:
        return quantize_job(row.job, prepared.sweep.plan, display)
    except BaseException as error:  # whatever a method does, its cells become rows and the sweep goes on
        if not is_failure(error):
            raise
        return because("quantization failed", failure_of(error, otherwise="method-failed"))


def quantize_job(job: Job, plan: Plan, display: Display) -> Checkpoint:
    """Quantizing loads the whole machine: nothing is measured on it meanwhile, if the plan does not allow it."""
    with nullcontext() if plan.quantize_while_measuring else slots(machine_slots(), display.waiting):
        return quantize(job, _progress_on(display), plan.time_limits.quantize_seconds)


def _progress_on(display: Display) -> OnProgress:
    """What a worker reports, as bars of the display."""
    seen: dict[str, tuple[Any, float]] = {}

    def on_progress(stage: str, done: float, total: float) -> None:
        if stage not in seen:
            seen[stage] = (display.stage(stage, total), 0.0)
        advance, before = seen[stage]
        advance(done - before)
        seen[stage] = (advance, done)

    return on_progress


def measure_row(
    prepared: Prepared, row: Row, checkpoint: Checkpoint, tasks: LoadedTasks, display: Display, step: Step = plainly
) -> Trial:
    """Measure one cell, alone on its device: a lock that the dead cannot hold keeps other sweeps away."""
    sweep, blank = prepared.sweep, _blank(prepared, row, "ok", "")
    environment = prepared.environments.get(row.cell.environment)
    with slots(sweep.device.slots, display.waiting), hold(running_lock(row.file)):
        place = sum(other.job is not None and other.file.exists() for other in prepared.rows)
        origin: dict[str, Any] = {
            "started": utc_now(),
            "place": place,
            "host": host_id(),
            "session": SESSION,
            "cpu": cpu_model(),
            "commit": commit(),
        }
        if sweep.plan.race is not None:
            origin["sentinel"] = asdict(sentinel(sweep.plan.thread_count))
        blank = replace(blank, provenance={**blank.provenance, "measured": origin})
        try:
            baseline = _baseline_scores(prepared, row)
        except NoBaseline as error:
            return failed_trial(prepared, row, failure_of(error))
        measured, bandwidth = blank.provenance["measured"], bandwidth_of(prepared, row)
        target = replace(target_of(prepared, row), baseline=baseline, measured=measured, bandwidth=bandwidth)
        work = work_of(sweep, tasks, display, step)
        trial = measure(blank, row.cell, checkpoint, environment, sweep.device, work, target)
    return save_trial(row, trial)


def bandwidth_of(prepared: Prepared, row: Row) -> dict[str, Any] | None:
    """How fast the device's memory is read, which limits how fast a single request is decoded; None where not known."""
    sweep = prepared.sweep
    if not any(decodes_alone(request) for request in row.parts):
        return None
    bandwidth = memory_bandwidth(sweep.device, sweep.plan.thread_count, list(prepared.environments.values()))
    return asdict(bandwidth) if bandwidth else None


def assemble_finished(prepared: Prepared) -> None:
    """Trials of the cells whose parts are all there, such as after a load was taken out of the plan."""
    for row in prepared.rows:
        if row.parts and finished(row) is None and all_there(prepared, row):
            target = target_of(prepared, row)
            done = assembled(_blank(prepared, row, "ok", ""), target, prepared.sweep.plan.max_length)
            if done is not None:
                save_trial(row, done)


def all_there(prepared: Prepared, row: Row) -> bool:
    """True if the parts of the row's trial are finished, whether or not it was put together."""
    return finished_parts(prepared.folder / "parts", [request.key for request in row.parts]) is not None


def target_of(prepared: Prepared, row: Row) -> Target:
    """The row's target, without what only a measurement has."""
    log, *_ = server_logs(prepared, row)
    log.parent.mkdir(exist_ok=True)
    model = prepared.models[row.cell.model.location]
    calibration = _calibration_runs(row)
    return Target(model, None, row.answers, calibration, prepared.folder, row.slug, row.parts, {}, None, log)


def _baseline_scores(prepared: Prepared, row: Row) -> Sequence[Score] | None:
    """The scores that choose what is asked of an adaptive cell; None where nothing is to be chosen. Raises NoBaseline
    where they are not those that its parts' keys name: asking all items instead would be expensive in silence.
    """
    folder = prepared.folder / "parts"
    named = {part.name: part.own["baseline"] for part in row.parts if "baseline" in part.own}
    chosen = {part.name for part in row.parts if part.name in named and find_part(folder, part.key) is None}
    if alone := sorted(name for name in chosen if named[name] == "none"):
        logger.warning("%s: no baseline for its adaptive budget: all items of %s", row.cell.name, ", ".join(alone))
    chosen -= set(alone)
    if not chosen:
        return None
    alike = [
        other
        for other in prepared.rows
        if other.cell.quantization.scheme.unquantized and other.engine_key == row.engine_key
    ]
    for trial in filter(None, map(finished, alike)):
        if trial.status == "ok" and all(trial.parts.get(name) == named[name] for name in chosen):
            return trial.scores
    stale = any(other.file.name in prepared.stale for other in alike)
    raise NoBaseline(
        f"the adaptive budget of {', '.join(sorted(chosen))} needs its baseline's answers, and the result of "
        f"{', '.join(other.cell.name for other in alike)} is {'stale and kept' if stale else 'not here'}"
    )


def server_logs(prepared: Prepared, row: Row) -> tuple[Path, Path]:
    """Where the cell's server writes, and where it does when the baseline is read again."""
    log = prepared.folder / "logs" / f"{row.file.stem}.log"
    return log, repeat_log(log)


def worker_logs(row: Row) -> tuple[Path, ...]:
    """What can be followed while the row is quantized."""
    return (row.job.log,) if row.job is not None else ()


def row_name(prepared: Prepared, row: Row) -> str:
    """`gptq W4A16-g64 · vllm · arc_easy`, with the model where there are several."""
    tasks = ", ".join(task.name for task in prepared.sweep.tasks)
    model = [row.cell.model.name] if len(prepared.models) > 1 else []
    return " · ".join([row.cell.name, *model, tasks])


def _calibration_runs(row: Row) -> Runs:
    job = row.job
    if job is None or job.calibration is None:
        return frozenset()
    return _runs_of(job.calibration, job.calibration_text, job.model.folder)


@lru_cache(maxsize=1)  # most cells of a sweep have the same; all of them would be too many to keep
def _runs_of(calibration: CalibrationSpec, text: str, model: Path) -> Runs:
    with tempfile.TemporaryDirectory() as folder:
        written = write_calibration(calibration, text, model, Path(folder))
        return runs(np.load(written.token_ids, allow_pickle=False).tolist())
