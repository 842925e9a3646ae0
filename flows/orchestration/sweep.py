"""The Prefect flow. Tasks are thin wrappers over `flows.execute.rows`; resume does not depend on Prefect."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

import flows.execute.worker_process
from engines.runtime.environments import Environment, EnvironmentFailed, build
from evals.schema.trial import Trial
from flows.execute import rows
from flows.execute.manifest import describe
from flows.execute.prepare import environments_of, prepare_sweep
from flows.execute.prepared import Prepared, Row
from flows.execute.worker_process import Workbench
from flows.orchestration import artifacts
from flows.orchestration.distributed import spread
from flows.orchestration.sweep_head import head
from flows.orchestration.task_stages import unseen, watched
from flows.plan import forms
from flows.plan.schema import Plan
from flows.plan.source import load_plan
from flows.state.cache_gc import register
from flows.state.locks import alone, cache_in_use
from flows.state.progress_display import Display, LogDisplay, cell_line, current
from flows.state.run_log import logged
from flows.validate.plan import REFERENCE_ENVIRONMENT, check
from flows.validate.resolved import Sweep
from quant.types import Checkpoint
from reports.output.html_report import write_report


@task(task_run_name="environment {environment.name}", cache_policy=NO_CACHE, persist_result=False)
def build_environment(environment: Environment, display: Display) -> None:
    build(environment, display.say)


@task(task_run_name="prepare {name}", cache_policy=NO_CACHE, persist_result=False)
def prepare(name: str, sweep: Sweep, environments: list[Environment], runs: Path, display: Display) -> Prepared:
    prepared = prepare_sweep(sweep, environments, runs, display)
    describe(prepared)
    return prepared


@task(task_run_name="quantize {name}", cache_policy=NO_CACHE, persist_result=False)
def quantize(name: str, bench: Workbench, row: Row, display: Display) -> Checkpoint | str:
    with watched(*rows.worker_logs(row)):
        return bench.quantize(row, display)


@task(task_run_name="measure {name}", cache_policy=NO_CACHE, persist_result=False)
def measure(name: str, bench: Workbench, prepared: Prepared, row: Row, display: Display) -> Trial:
    with watched(*rows.server_logs(prepared, row)) as step:
        return bench.measure(row, display, step)


@task(task_run_name="report", cache_policy=NO_CACHE, persist_result=False)
def report(folder: Path) -> Path:
    page = write_report(folder)
    artifacts.publish(folder)
    return page


def _run_name() -> str:
    return f"sweep {forms.title(flow_run.parameters['plan'])}"


# what a plan may be is checked where its lines are known: Prefect would say no more than that it fits no schema
@flow(name="sweep", flow_run_name=_run_name, validate_parameters=False, persist_result=False)
def sweep(
    plan: str | Plan = "quickstart", data_root: str | None = None, runs: str = "runs", store: str | None = None
) -> str:
    """Run a whole sweep and write its report; what is finished already is not done again.

    Args:
        plan: path of the plan, a YAML file, or the name of a sample plan; or the plan itself, which is then written to
            runs/NAME/plan.yaml (paths in it are absolute, or relative to that folder).
        data_root: local root of evaluation data that replaces the plan's `data`.
        runs: folder for results.
        store: a folder that all machines see, or an address of fsspec's (s3://bucket/prefix). With one, every
            checkpoint and cell is a deployment run for the workers of the pool of this kind of device.

    Returns:
        The path of report.html.
    """
    return str(run_plan(forms.plan_file(plan, Path(runs)), data_root, Path(runs), store))


@cache_in_use()
def run_plan(file: Path, data_root: str | None, runs: Path, store: str | None = None) -> Path:
    """The steps of a sweep, each a task run, or a deployment run with a `store`; gives the path of its report."""
    display = shown()
    checked = check(load_plan(file), data_root=data_root)
    with alone(runs / checked.plan.name), logged(runs / checked.plan.name):
        for line in head(checked):
            display.say(line)
        register(runs / checked.plan.name)
        environments = environments_of(checked)
        here = [environment for environment in environments if not store or environment.name == REFERENCE_ENVIRONMENT]
        missing = build_all(here, display)
        prepared = prepare(checked.plan.name, unseen(checked), environments, runs, unseen(display))
        rows.note_missing(prepared, missing)
        if store:
            spread(prepared, store, display)
        else:
            with flows.execute.worker_process.aside(prepared) as bench:
                _measure_all(prepared, bench, _quantize_all(prepared, bench, display), display)
        return report(prepared.folder)


def shown() -> Display:
    """Bars of the command line, or the run's log."""
    return current.get() or LogDisplay(get_run_logger().info)


def build_all(environments: list[Environment], display: Display) -> dict[str, str]:
    """The reasons why some could not be built. Raises EnvironmentFailed where no sweep can do without it."""
    advance = display.overall("environments", len(environments))
    missing: dict[str, str] = {}
    for environment in environments:
        try:
            build_environment(environment, unseen(display))
        except EnvironmentFailed as error:
            missing[environment.name] = f"environment '{environment.name}' could not be built: {error}"
            display.say(f"  {missing[environment.name].splitlines()[0]}")
        advance(1)
    if REFERENCE_ENVIRONMENT in missing:
        raise EnvironmentFailed(missing[REFERENCE_ENVIRONMENT])
    return missing


def _quantize_all(prepared: Prepared, bench: Workbench, display: Display) -> dict[str, Checkpoint | str]:
    """A checkpoint, or the reason why there is none, by the job's key; only for cells that are still to be measured."""
    jobs = {row.job.key: row for row in prepared.rows if row.job is not None and rows.finished(row) is None}
    advance = display.overall("quantize", len(jobs))
    results = {}
    for key, row in jobs.items():
        label, verb = row.cell.quantization.label, "found" if rows.has_checkpoint(row) else "quantized"
        names = f"{label} · {row.cell.model.name}"
        results[key] = quantize(names, unseen(bench), unseen(row), unseen(display))
        advance(1)
        made = results[key]
        text = made if isinstance(made, str) else f"{made.bits_per_weight:.2f} bits per weight"
        display.say(f"  {verb} {label}: {text.splitlines()[0][:160]}")
    return results


def _measure_all(
    prepared: Prepared, bench: Workbench, checkpoints: dict[str, Checkpoint | str], display: Display
) -> None:
    count = len(prepared.rows)
    advance = display.overall("measure", count)
    advance_shown = artifacts.progress(prepared.sweep.plan.name, "cells", count)
    broken: dict[tuple[str, int], str] = {}
    for number, row in enumerate(prepared.rows, 1):
        trial = rows.finished(row)
        if trial is None and row.job is None:
            trial = rows.unsupported_trial(prepared, row)
        elif trial is None and isinstance(checkpoints[row.job.key], str):  # type: ignore[union-attr]
            trial = rows.failed_trial(prepared, row, str(checkpoints[row.job.key]))  # type: ignore[union-attr]
        elif trial is None and row.engine_key in broken:
            trial = rows.failed_trial(prepared, row, broken[row.engine_key])
        elif trial is None:
            arguments = unseen(bench), unseen(prepared), unseen(row), unseen(display)
            trial = measure(rows.row_name(prepared, row), *arguments)
        if trial.status == "failed" and row.cell.quantization.scheme.unquantized:
            broken[row.engine_key] = f"the baseline failed in this engine, so nothing can be compared: {trial.reason}"
        advance(1)
        advance_shown(1)
        display.say(cell_line(trial, number, count))
