"""The Prefect flow. Tasks are thin wrappers over `flows.execute.rows`; resume does not depend on Prefect."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

import flows.execute.worker_process
from engines.runtime.environments import Environment, EnvironmentFailed, build
from evals.schema.failures import because, failure_of
from evals.schema.run_file import RUN_FILE
from evals.schema.trial import Failure, Trial
from flows.bundle.use import from_bundle
from flows.execute import rows
from flows.execute.manifest import describe
from flows.execute.prepare import environments_of, prepare_sweep, stale_rows
from flows.execute.prepared import Baselines, Prepared, Row
from flows.execute.spec import require_data
from flows.execute.worker_process import Workbench
from flows.orchestration import artifacts, cell_lines
from flows.orchestration.deployment_runs import allowed_bundle, load_allowed
from flows.orchestration.distributed import spread
from flows.orchestration.rounds import run_race, visits_here
from flows.orchestration.sweep_head import forecast_line, head
from flows.orchestration.task_stages import unseen, watched
from flows.plan import forms
from flows.plan.changes import UNCHANGED, Changes, changes_of
from flows.plan.outside import outside_lines
from flows.plan.schema import Plan
from flows.plan.source import load_plan
from flows.race.contenders import first_round
from flows.race.until_decided import MOST_STEPS, gone_on_with, next_step
from flows.state.cache_gc import register
from flows.state.locks import alone, cache_in_use
from flows.state.progress_display import Display, LogDisplay, SweepDisplay, cell_line, current
from flows.state.run_log import logged
from flows.validate.plan import REFERENCE_ENVIRONMENT, check
from flows.validate.resolved import ResolvedPlan
from quant.types import Checkpoint
from reports.decision.results import read_results
from reports.output.index.runs_page import write_report_and_index

logger = logging.getLogger(__name__)


@task(task_run_name="environment {environment.name}", cache_policy=NO_CACHE, persist_result=False)
def build_environment(environment: Environment, display: Display) -> None:
    build(environment, display.say)


@task(task_run_name="prepare {name}", cache_policy=NO_CACHE, persist_result=False)
def prepare(name: str, sweep: ResolvedPlan, environments: list[Environment], runs: Path, display: Display) -> Prepared:
    prepared = prepare_sweep(sweep, environments, runs, display)
    rows.assemble_finished(prepared)
    for result in [*prepared.stale.values(), *stale_rows(prepared).values()]:
        display.say(result.line)
    describe(prepared)
    return prepared


@task(task_run_name="quantize {name}", cache_policy=NO_CACHE, persist_result=False)
def quantize(name: str, bench: Workbench, row: Row, display: Display) -> Checkpoint | Failure:
    with watched(*rows.worker_logs(row)):
        return bench.quantize(row, display)


@task(task_run_name="measure {name}", cache_policy=NO_CACHE, persist_result=False)
def measure(name: str, bench: Workbench, prepared: Prepared, row: Row, display: Display) -> Trial:
    with watched(*rows.server_logs(prepared, row)) as step:
        return bench.measure(row, display, step)


@task(task_run_name="report", cache_policy=NO_CACHE, persist_result=False)
def report(folder: Path) -> Path:
    page = write_report_and_index(folder)
    artifacts.publish(folder)
    return page


def _run_name() -> str:
    return f"sweep {forms.title(flow_run.parameters['plan'])}"


# what a plan may be is checked where its lines are known: Prefect would say no more than that it fits no schema
@flow(name="sweep", flow_run_name=_run_name, validate_parameters=False, persist_result=False)
def sweep(
    plan: str | Plan = "quickstart",
    data_root: str | None = None,
    runs: str = "runs",
    store: str | None = None,
    keep_stale: bool = False,
    changes: dict[str, list[str]] | None = None,
    until_decided: bool = False,
    bundle: str | None = None,
) -> str:
    """Run a whole sweep and write its report; what is finished already is not done again.

    Args:
        plan: path of the plan, a YAML file, or the name of a sample plan; or the plan itself, which is then written to
            runs/NAME/plan.yaml (paths in it are absolute, or relative to that folder). Of a deployment's run, neither
            may name programs, images or servers, unless its worker was started with BITFRONTIER_ALLOW_PROGRAMS=1.
        data_root: local root of evaluation data that replaces the plan's `data`.
        runs: folder for results.
        store: a folder that all machines see, or an address of fsspec's (s3://bucket/prefix). With one, every
            checkpoint, cell and round of a race is a deployment run for the workers of the pool of this kind of device.
        keep_stale: results that are not what would be measured now are kept, and marked in the report.
        changes: `sets` (KEY=VALUE), `only` and `exclude` (globs of cells), as the command line has them.
        until_decided: go on with more questions, longer texts and more rounds of a race until an answer is known.
        bundle: a folder that `bitfrontier bundle` made: everything comes from there alone.

    Returns:
        The path of report.html.
    """
    file, given = forms.plan_file(plan, Path(runs)), changes_of(changes)
    if until_decided:
        given = gone_on_with(given, Path(runs) / load_plan(file, given).plan.name)
    measured = partial(run_plan, file, data_root, Path(runs), store, keep_stale=keep_stale, bundle=bundle)
    report = measured(changes=given)
    for _ in range(MOST_STEPS if until_decided else 0):
        step = next_step(load_plan(file, given).plan, read_results(report.parent))
        shown().say(step.text if step else "nothing more is measured: all is decided, or more of it would not decide")
        if step is None:
            break
        given = replace(given, sets=(*given.sets, *step.sets))
        report = measured(changes=given)
    return str(report)


@cache_in_use()
def run_plan(
    file: Path,
    data_root: str | None,
    runs: Path,
    store: str | None = None,
    *,
    keep_stale: bool = False,
    changes: Changes = UNCHANGED,
    bundle: str | None = None,
) -> Path:
    """The steps of a sweep, each a task run, or a deployment run with a `store`; gives the path of its report."""
    display = shown()
    parsed = load_allowed(file, changes)
    # the command line has said already what it comes from
    place = LogDisplay(logger.info) if current.get() else display
    checked = from_bundle(allowed_bundle(bundle), lambda base: check(parsed, data_root=data_root, base=base), place)
    checked = replace(checked, keep_stale=keep_stale)
    with alone(runs / checked.plan.name), logged(runs / checked.plan.name):
        for line in outside_lines(checked.plan):
            # the command line has shown it already, before it asked programs for their versions
            logger.info(line) if current.get() else display.say(line)
        for line in [*head(checked), forecast_line(checked, runs)]:
            display.say(line)
        register(runs / checked.plan.name, checked.text)
        if not (runs / checked.plan.name / RUN_FILE).exists():  # a run that goes on may need none of it any more
            require_data(checked)
        environments = environments_of(checked)
        here = [environment for environment in environments if not store or environment.name == REFERENCE_ENVIRONMENT]
        missing = build_all(here, display)
        arguments = checked.plan.name, unseen(checked), environments, runs, unseen(display)
        prepared = prepare(*arguments)
        rows.note_missing(prepared, missing)
        if store:
            spread(prepared, store, display)
        else:
            with flows.execute.worker_process.aside(prepared) as bench:
                _measure_all(prepared, bench, _quantize_all(prepared, bench, display), display)
                run_race(prepared, partial(visits_here, prepared, bench, display), display)
        return report(prepared.folder)


def shown() -> SweepDisplay:
    """Bars of the command line, or the run's log."""
    return current.get() or LogDisplay(get_run_logger().info)


def build_all(environments: list[Environment], display: SweepDisplay) -> dict[str, Failure]:
    """Why some could not be built. Raises EnvironmentFailed where no sweep can do without it."""
    advance = display.overall("environments", len(environments))
    missing: dict[str, Failure] = {}
    for environment in environments:
        display.doing(environment.name)
        try:
            build_environment(environment, unseen(display))
        except EnvironmentFailed as error:
            failure = because(f"environment '{environment.name}' could not be built", failure_of(error))
            missing[environment.name] = failure
            display.say(f"  {failure.cause}")
        advance(1)
    if (needed := missing.get(REFERENCE_ENVIRONMENT)) is not None:
        raise EnvironmentFailed(needed.cause, log_tail=needed.log_tail)
    return missing


def _quantize_all(prepared: Prepared, bench: Workbench, display: SweepDisplay) -> dict[str, Checkpoint | Failure]:
    """A checkpoint, or why there is none, by the job's key; only for cells that are still to be measured."""
    jobs = {row.job.key: row for row in prepared.rows if row.job is not None and rows.finished(row) is None}
    advance = display.overall("quantize", len(jobs))
    results = {}
    for key, row in jobs.items():
        label, verb = row.cell.quantization.label, "found" if rows.has_checkpoint(row) else "quantized"
        names = f"{label} · {row.cell.model.name}"
        display.doing(names)
        results[key] = quantize(names, unseen(bench), unseen(row), unseen(display))
        advance(1)
        made = results[key]
        text = made.cause if isinstance(made, Failure) else f"{made.bits_per_weight:.2f} bits per weight"
        display.say(f"  {verb} {label}: {text[:160]}")
        for warning in () if isinstance(made, Failure) else made.calibration_warnings:
            display.say(f"    {warning}")
    return results


def _measure_all(
    prepared: Prepared, bench: Workbench, checkpoints: dict[str, Checkpoint | Failure], display: SweepDisplay
) -> None:
    count = len(prepared.rows)
    left = cell_lines.remaining(prepared)
    advance = display.overall("measure", count, left.seconds)
    advance_shown = artifacts.progress(prepared.sweep.plan.name, "cells", count)
    baselines = Baselines()
    for number, row in enumerate(first_round(prepared), 1):
        trial, measured = rows.finished(row), False
        made = checkpoints.get(row.job.key) if row.job else None
        if trial is None and row.job is None:
            trial = rows.unsupported_trial(prepared, row)
        elif trial is None and isinstance(made, Failure):
            trial = rows.failed_trial(prepared, row, made)
        elif trial is None and (failure := baselines.failure(row)):
            trial = rows.failed_trial(prepared, row, failure)
        elif trial is None:
            measured = True
            display.doing(row.cell.name)
            left.begins(row.file.name)
            arguments = unseen(bench), unseen(prepared), unseen(row), unseen(display)
            trial = measure(rows.row_name(prepared, row), *arguments)
        baselines.ended(row, trial)
        left.ends(row.file.name, trial.seconds.get("total") if measured and trial.status == "ok" else None)
        advance(1)
        advance_shown(1)
        line = cell_lines.ended_line(prepared, row, trial, number) if measured else cell_line(trial, number, count)
        display.say(line)
