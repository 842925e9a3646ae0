"""The Prefect flow. Tasks are thin wrappers over `flows.run`; resume does not depend on Prefect."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from engines.environment import Environment, build
from evals.record import Trial
from evals.tasks import LoadedTasks
from flows import run
from flows.check import Sweep, check
from flows.display import Display, LogDisplay, cell_line, current
from flows.plan import load_plan
from quant.spec import Checkpoint
from reports.html import write_report


@task(task_run_name="environment {environment.name}", cache_policy=NO_CACHE)
def build_environment(environment: Environment, display: Display) -> None:
    build(environment, display.say)


@task(task_run_name="prepare {sweep.plan.name}", cache_policy=NO_CACHE)
def prepare(sweep: Sweep, environments: list[Environment], runs: Path, display: Display) -> run.Prepared:
    return run.prepare(sweep, environments, runs, display)


@task(task_run_name="quantize {name}", cache_policy=NO_CACHE)
def quantize(name: str, row: run.Row, display: Display) -> Checkpoint | str:
    return run.quantize_row(row, display)


@task(task_run_name="load evaluation tasks", cache_policy=NO_CACHE)
def load_tasks(sweep: Sweep) -> LoadedTasks:
    return run.load_sweep_tasks(sweep)


@task(task_run_name="measure {name}", cache_policy=NO_CACHE)
def measure(
    name: str, prepared: run.Prepared, row: run.Row, checkpoint: Checkpoint, tasks: LoadedTasks, display: Display
) -> Trial:
    return run.measure_row(prepared, row, checkpoint, tasks, display)


@task(task_run_name="report", cache_policy=NO_CACHE)
def report(folder: Path) -> Path:
    return write_report(folder)


def _run_name() -> str:
    return f"sweep {Path(str(flow_run.parameters['plan'])).stem}"


@flow(name="sweep", flow_run_name=_run_name, validate_parameters=True)
def sweep(plan: str = "configs/quickstart.yaml", data_root: str | None = None, runs: str = "runs") -> str:
    """Run a whole sweep and write its report; what is finished already is not done again.

    Args:
        plan: path of the plan, a YAML file.
        data_root: local root of evaluation data that replaces the plan's `data`.
        runs: folder for results.

    Returns:
        The path of report.html.
    """
    display = current.get() or LogDisplay(get_run_logger().info)
    checked = check(load_plan(Path(plan)), data_root=data_root)
    environments = run.environments_of(checked)
    advance = display.overall("environments", len(environments))
    for environment in environments:
        build_environment(environment, display)
        advance(1)
    prepared = prepare(checked, environments, Path(runs), display)
    checkpoints = _quantize_all(prepared, display)
    _measure_all(prepared, checkpoints, display)
    return str(report(prepared.folder))


def _quantize_all(prepared: run.Prepared, display: Display) -> dict[str, Checkpoint | str]:
    """A checkpoint, or the reason why there is none, by the job's key; only for cells that are still to be measured."""
    jobs = {row.job.key: row for row in prepared.rows if row.job is not None and run.finished(row) is None}
    advance = display.overall("quantize", len(jobs))
    results = {}
    for key, row in jobs.items():
        label, verb = row.cell.quantization.label, "found" if run.has_checkpoint(row) else "quantized"
        results[key] = quantize(f"{label} · {row.cell.model.name}", row, display)
        advance(1)
        made = results[key]
        text = made if isinstance(made, str) else f"{made.bits_per_weight:.2f} bits per weight"
        display.say(f"  {verb} {label}: {text.splitlines()[0][:160]}")
    return results


def _measure_all(prepared: run.Prepared, checkpoints: dict[str, Checkpoint | str], display: Display) -> None:
    count, tasks = len(prepared.rows), None
    advance = display.overall("measure", count)
    broken: dict[tuple[str, int], str] = {}
    for number, row in enumerate(prepared.rows, 1):
        trial = run.finished(row)
        if trial is None and row.job is None:
            trial = run.unsupported_trial(prepared, row)
        elif trial is None and isinstance(checkpoints[row.job.key], str):  # type: ignore[union-attr]
            trial = run.failed_trial(prepared, row, str(checkpoints[row.job.key]))  # type: ignore[union-attr]
        elif trial is None and row.engine_key in broken:
            trial = run.failed_trial(prepared, row, broken[row.engine_key])
        elif trial is None:
            tasks = tasks or load_tasks(prepared.sweep)
            name = f"{row.cell.name} · {row.cell.model.name}"
            trial = measure(name, prepared, row, checkpoints[row.job.key], tasks, display)  # type: ignore[union-attr, arg-type]
        if trial.status == "failed" and row.cell.quantization.scheme.unquantized:
            broken[row.engine_key] = f"the baseline failed in this engine, so nothing can be compared: {trial.reason}"
        advance(1)
        display.say(cell_line(trial, number, count))
