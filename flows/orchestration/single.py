"""Prefect flows for one thing at a time: a checkpoint, a cell beside its baseline, a report. Forms become plans."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from engines.runtime.environments import Environment, EnvironmentFailed, resolve
from evals.schema.run_file import read_run
from flows.execute import rows
from flows.execute.prepare import jobs_of
from flows.execute.quantize_checkpoint import Job
from flows.orchestration import artifacts
from flows.orchestration.sweep import build_all, run_plan, shown
from flows.orchestration.sweep import report as report_task
from flows.orchestration.task_stages import unseen, watched
from flows.plan import forms
from flows.plan.base import Threads
from flows.plan.forms import Conditions
from flows.plan.load import LoadPlan
from flows.plan.schema import CalibrationPlan, EnginePlan, MethodPlan, Plan, TaskPlan
from flows.plan.source import PlanFile, load_plan
from flows.sources.model_facts import ModelFacts
from flows.state.kept_checkpoints import keep
from flows.state.locks import cache_in_use
from flows.state.progress_display import Display
from flows.validate.matrix import Quantization
from flows.validate.plan import REFERENCE_ENVIRONMENT, check_quantizations
from quant.types import Checkpoint


@task(task_run_name="prepare {name}", cache_policy=NO_CACHE, persist_result=False)
def prepare(
    name: str,
    parsed: PlanFile,
    facts: ModelFacts,
    wanted: list[Quantization],
    environments: list[Environment],
    display: Display,
) -> list[Job]:
    return jobs_of(parsed, facts, wanted, environments, display)


@task(task_run_name="quantize {name}", cache_policy=NO_CACHE, persist_result=False)
def make(name: str, job: Job, plan: Plan, display: Display) -> Checkpoint:
    with watched(job.log):
        return rows.quantize_job(job, plan, display)


def _quantize_name() -> str:
    given = flow_run.parameters
    return f"{forms.label(given['method'])} · {given['model']}"


@flow(name="quantize", flow_run_name=_quantize_name, validate_parameters=False, persist_result=False)
def quantize(
    model: str,
    method: MethodPlan,
    calibration: CalibrationPlan = CalibrationPlan(),  # noqa: B008 (frozen)
    threads: Threads = "auto",
    runs: str = "runs",
) -> list[str]:
    """Quantize one model by one method, unless that was done before; `bitfrontier gc` keeps it until it is released.

    Args:
        model: `pypi:smollm2-135m-instruct`, `hub:organisation/name`, or a folder.
        method: a method with its parameters; `bitfrontier methods` lists them.
        calibration: the text and how much of it, for methods that calibrate.
        threads: of the quantizer; "auto" is one for each core that may be used.
        runs: folder for the plan that is made of this.

    Returns:
        The folders of the checkpoints: one, or one for each of the method's seeds.
    """
    form = forms.quantization(model, method, calibration, threads)
    with cache_in_use():
        return _quantize(load_plan(forms.plan_file(form, Path(runs))))


def _quantize(parsed: PlanFile) -> list[str]:
    display = shown()
    facts, wanted = check_quantizations(parsed)
    names = {REFERENCE_ENVIRONMENT, *(quantization.method.environment for quantization in wanted)}
    environments = [resolve(name) for name in sorted(names)]
    missing = build_all(environments, display)
    if missing:
        raise EnvironmentFailed("; ".join(failure.cause for failure in missing.values()))
    folders = []
    for job in prepare(facts.name, unseen(parsed), unseen(facts), unseen(wanted), environments, unseen(display)):
        made = make(f"{job.quantization.label} · {facts.name}", unseen(job), unseen(parsed.plan), unseen(display))
        keep(made)
        artifacts.describe(made)
        folders.append(made.folder)
    return folders


def _measure_name() -> str:
    given = flow_run.parameters
    tasks = forms.plain(given["tasks"])
    names = [forms.named(entry, "task") for entry in tasks] if isinstance(tasks, list) else []
    return " · ".join([forms.label(given["method"]), forms.named(given["engine"], "engine"), ", ".join(names)])


@flow(name="measure", flow_run_name=_measure_name, validate_parameters=False, persist_result=False)
def measure(
    model: str,
    method: MethodPlan,
    engine: EnginePlan,
    load: list[LoadPlan],
    tasks: list[TaskPlan],
    baseline: MethodPlan | None = None,
    conditions: Conditions = Conditions(),  # noqa: B008 (frozen)
    runs: str = "runs",
) -> str:
    """Measure one method in one engine, beside the unquantized baseline that every comparison needs.

    Args:
        model: `pypi:smollm2-135m-instruct`, `hub:organisation/name`, or a folder.
        method: a method with its parameters; `bitfrontier methods` lists them.
        engine: an engine with its options; `bitfrontier engines` lists them.
        load: under which loads it is timed.
        tasks: lm-eval's tasks on which it is scored.
        baseline: the unquantized form that the engine loads; the method `none` by default.
        conditions: device, threads, repeats, window, data, calibration.
        runs: folder for results.

    Returns:
        The path of report.html.
    """
    form = forms.one_cell(model, method, baseline, engine, load, tasks, conditions)
    return str(run_plan(forms.plan_file(form, Path(runs)), None, Path(runs)))


@flow(name="report", flow_run_name="report {folder}", persist_result=False)
def report(folder: str) -> str:
    """Write a run's report again from its trial files.

    Args:
        folder: a run's folder, such as runs/quickstart.

    Returns:
        The path of report.html.
    """
    read_run(Path(folder))
    return str(report_task(Path(folder)))
