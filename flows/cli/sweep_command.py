"""One whole sweep from the command line: run or found complete, concluded, with an exit code."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from flows.cli.app import (
    BundleFolder,
    DataRoot,
    Exclude,
    Json,
    Minutes,
    NoPrefectServer,
    Only,
    PlanArgument,
    Runs,
    Sets,
    Verbose,
    app,
    changes_from,
)
from flows.cli.output import SafeConsole
from flows.plan.changes import UNCHANGED, Changes
from quant.canonical_json import json_text
from quant.errors import counted, program

console = SafeConsole(width=None if sys.stdout.isatty() else 132)
errors = SafeConsole(stderr=True, width=None if sys.stderr.isatty() else 132)


@dataclass(frozen=True)
class SweepRequest:
    """What a sweep is asked for, as the flow's parameters are."""

    plan: Path
    data_root: str | None
    runs: Path
    changes: Changes = UNCHANGED
    keep_stale: bool = False
    until_decided: bool = False
    bundle: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """For the flow, as plain values."""
        changes = self.changes.plain if self.changes else None
        return {**vars(self), "plan": str(self.plan), "runs": str(self.runs), "changes": changes}


@dataclass(frozen=True)
class Shown:
    """How the end of a sweep is printed."""

    as_json: bool = False
    verbose: bool = False


@app.command(short_help="Run a whole sweep, or continue one.")
def sweep(
    file: PlanArgument,
    data_root: DataRoot = None,
    runs: Runs = Path("runs"),
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Measure failed cells again.")] = False,
    keep_stale: Annotated[
        bool, typer.Option("--keep-stale", help="Keep stale results, and mark them in the report.")
    ] = False,
    sets: Sets = None,
    only: Only = None,
    exclude: Exclude = None,
    minutes: Minutes = None,
    until_decided: Annotated[
        bool, typer.Option("--until-decided", help="Add questions and rounds until the answer is decided.")
    ] = False,
    bundle: BundleFolder = None,
    no_server: NoPrefectServer = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Run a whole sweep: environments, model, quantization, measurement, report. An interrupted sweep continues.

    With `race: {}` in the plan, speed is measured in rounds of fresh servers, and cells that can no longer win leave:
    docs/reference/race.md. The run records --set, --only and --exclude, and `retry` uses them again.
    """
    changes = changes_from(sets, only, exclude, minutes)
    request = SweepRequest(file, data_root, runs, changes, keep_stale, until_decided, bundle)
    shown = Shown(as_json=as_json, verbose=verbose)
    run_whole(request, shown, retry_failed=retry_failed, own_server=no_server)


def run_whole(
    request: SweepRequest, shown: Shown, *, retry_failed: bool, own_server: bool = False, outside_shown: bool = False
) -> None:
    """Exits 130 where it is interrupted, 1 where a cell failed."""
    from engines.runtime.cache import create_cache, require_writable
    from flows.cli.network_variables import check_network_variables
    from flows.cli.retry import drop_failed
    from flows.orchestration.api_server import PrefectLost

    check_network_variables()
    checked = resolved(request)
    checked = replace(checked, keep_stale=request.keep_stale)
    create_cache()
    if not outside_shown:
        show_outside(checked.plan, errors if shown.as_json else console)
    require_writable(request.runs, "Name another by --runs")
    folder = request.runs / checked.plan.name
    if retry_failed:
        drop_failed(folder)
    try:
        report = None if request.until_decided else already_done(checked, request.runs)
        report = report or _run(request, folder, own_server=own_server, as_json=shown.as_json)
    except KeyboardInterrupt:
        errors.print("interrupted: finished cells are kept. Run the same command again to continue.")
        raise typer.Exit(130) from None
    except PrefectLost as error:
        _end_without_prefect(error, checked, request.runs, shown)
    conclude(report, shown)


def resolved(request: SweepRequest) -> Any:
    """The plan that is asked for, every name of it found: in the bundle, where one is given."""
    from flows.bundle.use import from_bundle
    from flows.state.progress_display import bars
    from flows.validate.plan import load_and_check

    with bars(errors) as display:
        return from_bundle(
            request.bundle,
            lambda base: load_and_check(request.plan, request.changes, data_root=request.data_root, base=base),
            display,
        )


def show_outside(plan: Any, place: SafeConsole) -> None:
    """Say what the plan names that is not ours, before anything of it is started."""
    from flows.plan.outside import outside_lines

    for line in outside_lines(plan):
        place.print(line, markup=False, highlight=False, soft_wrap=True)


def _run(request: SweepRequest, folder: Path, *, own_server: bool, as_json: bool) -> Path:
    """Run the Prefect flow in this process, with bars, and return the report's path."""
    from flows.orchestration.api_server import prefect_api
    from flows.state.progress_display import bars, current

    with bars(errors if as_json else console) as display:
        token = current.set(display)
        advance = display.overall("Prefect", 1)
        with prefect_api(folder / "prefect.log", own=own_server):
            advance(1)
            from flows.orchestration.sweep import sweep as flow

            report = Path(flow(**request.parameters))
        current.reset(token)
    return report


def _end_without_prefect(error: Exception, checked: Any, runs: Path, shown: Shown) -> NoReturn:
    """Conclude what is complete: tasks run without Prefect's server too. Then leave at once, since Prefect's client
    would wait for the server with each event that is still to be told.
    """
    code, report = 1, already_done(checked, runs)
    if report is None:
        errors.print(f"error: {error}; finished cells are kept. Run the same command again.", highlight=False)
    else:
        errors.print(f"{error}; the sweep continued without it", highlight=False)
        try:
            conclude(report, shown)
            code = 0
        except typer.Exit as done:
            code = done.exit_code
    sys.stdout.flush()
    os._exit(code)


def already_done(checked: Any, runs: Path) -> Path | None:
    """The report of a sweep that is complete, written again if trials are newer; None if there is work to do."""
    from engines.runtime.environments import is_built
    from flows.execute import rows
    from flows.execute.manifest import describe
    from flows.execute.prepare import environments_of, prepare_sweep
    from flows.race.contenders import race_is_over
    from flows.state.locks import alone, cache_in_use
    from flows.state.progress_display import LogDisplay
    from reports.output.index.runs_page import write_report_and_index

    environments = environments_of(checked)
    if not all(is_built(environment) for environment in environments) or not (runs / checked.plan.name).exists():
        return None
    with cache_in_use():
        prepared = prepare_sweep(checked, environments, runs, LogDisplay(lambda text: None), references=False)
        if not all(model.reference or model.failure for model in prepared.models.values()):
            return None
        with alone(prepared.folder):
            rows.assemble_finished(prepared)
            describe(prepared)
    trials = [(row, rows.finished(row)) for row in prepared.rows]
    if any(trial is None for _, trial in trials) or not race_is_over(prepared):
        return None
    report = prepared.folder / "report.html"
    errors.print(
        f"nothing to measure: {counted(len(trials), 'cell')} of '{checked.plan.name}' finished before", highlight=False
    )
    newest = max([row.file.stat().st_mtime for row, _ in trials] + [(prepared.folder / "sweep.json").stat().st_mtime])
    return report if report.exists() and report.stat().st_mtime >= newest else write_report_and_index(prepared.folder)


def known_run(checked: Any, runs: Path) -> Any:
    """What a sweep of this plan works on (`Prepared`), with its keys; None where models would have to be fetched or
    environments built for it, so that nobody knows them yet. A worker has its runs in the cache folder.

    Keys hold versions of programs, which are asked for them: not before a sweep of this plan was begun here.
    """
    from engines.runtime.cache import cache_folder
    from engines.runtime.environments import is_built
    from evals.schema.run_file import NoRun, read_run
    from flows.execute.prepare import environments_of, prepare_sweep
    from flows.plan.outside import outside
    from flows.state.cache_gc import begun_here
    from flows.state.progress_display import LogDisplay

    folders = (runs, cache_folder() / "cells")
    if outside(checked.plan) and not any(begun_here(folder / checked.plan.name, checked.text) for folder in folders):
        return None
    environments, models = environments_of(checked), set()
    for folder in folders:
        with contextlib.suppress(NoRun):
            models |= set(read_run(folder / checked.plan.name)["models"])
    needed = {cell.model.name for cell in checked.cells if cell.unsupported is None}
    if needed - models or not all(map(is_built, environments)):
        return None
    return prepare_sweep(checked, environments, runs, LogDisplay(lambda text: None), references=False)


def conclude(report: Path, shown: Shown) -> None:
    """Print the answer, or JSON for scripts. Exits 1 where a cell failed."""
    if any(trial.status == "failed" for trial in show_results(report, shown).trials):
        raise typer.Exit(1)


def show_results(report: Path, shown: Shown) -> Any:
    """Print the answer, or JSON for scripts; gives the results of which it is one."""
    from reports.decision.results import read_results
    from reports.output.json_data import as_data
    from reports.output.terminal.summary import print_results

    results = read_results(report.parent)
    if shown.as_json:
        print(json_text({"report": str(report), **as_data(results)}))
    else:
        print_results(results, console, verbose=shown.verbose)
        one_cell = len(results.answers) == 1 and results.answers[0].chosen
        serve = f" · serve it: {program()} serve {shlex.quote(str(report.parent))}" if one_cell else ""
        console.print(f"Report: {report}{serve}", markup=False, highlight=False, soft_wrap=True)
    return results
