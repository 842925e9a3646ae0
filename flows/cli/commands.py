"""The command line. Exit codes: 0 done, 1 something failed, 2 bad input, 130 interrupted."""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.markup import escape
from rich.table import Table

from engines.redaction import redacted
from engines.runtime.cache import VARIABLE, NotWritable, absolute_cache, create_cache
from flows.cli.app import (
    BundleFolder,
    DataRoot,
    Exclude,
    Json,
    Minutes,
    NoPrefectServer,
    Only,
    PlanArgument,
    RunArgument,
    Runs,
    Sets,
    SpeedMargin,
    Verbose,
    app,
    changes_from,
)
from flows.cli.output import OF_FILES, unforeseen, write_what_the_terminal_takes
from flows.cli.sweep_command import Shown, SweepRequest, console, errors, resolved, run_whole, show_outside
from flows.plan.changes import Changes
from flows.state.run_log import guard_warnings
from quant.canonical_json import json_text
from quant.errors import CONTROLS, BitfrontierError, counted, is_failure, program, reading


def main() -> None:
    """Entry point: errors become one message and an exit code, never a traceback; no key is printed."""
    write_what_the_terminal_takes()
    guard_warnings()
    if strange := [argument for argument in sys.argv[1:] if CONTROLS.search(argument)]:
        _end(
            f"error: the argument {strange[0]!r:.100} contains control characters, or is not UTF-8. Rename the file", 2
        )
    try:
        if os.environ.get(VARIABLE):
            os.environ[VARIABLE] = str(absolute_cache())  # absolute, for children in other folders
        app()
    except BitfrontierError as error:
        _end(error.shown, error.exit_code)
    except BaseException as error:  # here, for Typer puts its own hook in place of sys.excepthook
        if isinstance(error, SystemExit) or not is_failure(error):
            raise
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "finished cells are kept. Free space on this disk and run the same command again"
            _end(f"error: {error}; {advice}.", 1)
        if isinstance(error, OSError) and error.errno in OF_FILES and error.filename is not None:
            advice = "Move it away, or correct its permissions"
            _end(f"error: {error.filename}: {error.strerror}. {advice}", 2)
        _end(unforeseen(error), 1)


def _end(text: str, code: int) -> NoReturn:
    errors.print(redacted(text), markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)


@app.command(short_help="Print every cell of a plan. Runs nothing.")
def plan(
    context: typer.Context,
    file: PlanArgument,
    data_root: DataRoot = None,
    runs: Runs = Path("runs"),
    sets: Sets = None,
    only: Only = None,
    exclude: Exclude = None,
    minutes: Minutes = None,
    bundle: BundleFolder = None,
    as_json: Json = False,
) -> None:
    """Print every cell of a plan: environment, support, estimated time and disk. Runs nothing.

    Lists stale results of its run with the reason. --json adds the key of each cell and part, and so does the table
    after `bitfrontier -v`. Keys are unknown until models and environments are on this machine.

    If the plan is not valid: exits 2 and prints file:line, the problem and the fix.
    """
    from flows.cli.network_variables import check_network_variables
    from flows.cli.plan_command import describe_plan, print_plan

    check_network_variables()
    request = SweepRequest(file, data_root, runs, changes_from(sets, only, exclude, minutes), bundle=bundle)
    sweep = resolved(request)
    show_outside(sweep.plan, errors if as_json else console)
    described = describe_plan(sweep, runs)
    if as_json:
        print(json_text(described))
    else:
        print_plan(sweep, described, with_keys=bool(context.obj))


@app.command(short_help="Make one checkpoint of a plan.")
def quantize(
    file: PlanArgument,
    label: Annotated[str, typer.Argument(help="The method, by its name in tables, such as 'gptq W4A16-g64'.")],
    data_root: DataRoot = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Make the checkpoint of one method of a plan, or find it in the cache, and print its folder."""
    from flows.cli.network_variables import check_network_variables
    from flows.cli.quantize_command import quantize_one
    from flows.state.progress_display import bars

    check_network_variables()
    create_cache()
    with bars(errors) as display:
        checkpoints = quantize_one(file, label, data_root, display, Changes(tuple(sets or ())))
    if as_json:
        print(json_text([asdict(checkpoint) for checkpoint in checkpoints]))
    else:
        for checkpoint in checkpoints:
            console.print(checkpoint.folder, markup=False, highlight=False, soft_wrap=True)


@app.command(short_help="Write a run's loads for other tools.")
def export(folder: RunArgument, to: Annotated[Path, typer.Argument(help="Folder for the files.")]) -> None:
    """Write each load of each cell as a benchmark report of llm-d, version 0.2, into a folder."""
    from evals.schema.run_file import read_run
    from reports.decision.results import read_results
    from reports.output.llmd_export import export as write

    read_run(folder)
    files = write(read_results(folder), to)
    console.print(f"{counted(len(files), 'file')} in {to}", markup=False, highlight=False)


@app.command(short_help="Compare a run with an earlier one, or with another tool's result.")
def compare(
    before: Annotated[Path, typer.Argument(help="A run's folder, or the JSON of vllm bench, GuideLLM or lm-eval.")],
    after: RunArgument,
    cell: Annotated[str | None, typer.Option(help="The cell of another tool's result, by its name in tables.")] = None,
    speed_margin: SpeedMargin = 0.05,
    html: Annotated[Path | None, typer.Option(help="Also write the comparison as an HTML page to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Compare a run with an earlier one, cell by cell: PASS, REGRESSION, INCONCLUSIVE or NOT COMPARED.

    BEFORE may be what `vllm bench serve --save-result`, GuideLLM or lm-eval wrote: it is compared with one cell.
    Exits 1 if a cell became worse. Exits 3 if all rates are slower alike, by no more than the machine varies from hour
    to hour, and something else has changed too.
    """
    from evals.schema.run_file import check_no_links, read_run
    from reports.compare.foreign import compare_foreign
    from reports.compare.runs import compare as hold
    from reports.decision.results import read_results
    from reports.output.html_report import render_comparison
    from reports.output.terminal.comparison_table import print_comparison

    read_run(after)
    for run in (before, after) if html is not None else ():
        check_no_links(run)  # the page may be meant to lie in it
    if before.is_file():
        comparison = compare_foreign(before, read_results(after), cell, speed_margin=speed_margin)
    elif cell is not None:
        raise typer.BadParameter(f"'{cell:.100}': {before} is a run, of which all cells are compared. Leave out --cell")
    else:
        read_run(before)
        comparison = hold(read_results(before), read_results(after), speed_margin=speed_margin)
    if html is not None:
        page = render_comparison(comparison)
        with reading(html, NotWritable, "Name another file", "cannot be written"):
            html.write_text(page, encoding="utf-8")
    if as_json:
        print(json_text(asdict(comparison)))
    else:
        print_comparison(comparison, console)
    if comparison.exit_code:
        raise typer.Exit(comparison.exit_code)


@app.command(short_help="Show the progress of a run.")
def status(folder: RunArgument, as_json: Json = False) -> None:
    """Show the progress of a run: which cells are done, running, failed or waiting. Only the run's folder is read."""
    from evals.schema.race_file import read_race
    from flows.state.status import cell_states, counts, remaining_seconds
    from reports.output.formatting import duration

    cells, race = cell_states(folder), read_race(folder)
    left = remaining_seconds(cells)
    if as_json:
        data = {"counts": counts(cells), "remaining_seconds": left, "cells": [asdict(cell) for cell in cells]}
        print(json_text({**data, "race": asdict(race) if race else None}))
        return
    table = Table("cell", "model", "state", "s", "reason, or finished parts", title=escape(str(folder)))
    for cell in cells:
        style = {"ok": "green", "failed": "red", "unsupported": "dim", "to do": ""}.get(cell.state, "yellow")
        seconds = "" if cell.seconds is None else f"{cell.seconds:.0f}"
        note = cell.reason or (f"kept: {', '.join(cell.kept_parts)}" if cell.kept_parts else "")
        table.add_row(*map(escape, (cell.cell, cell.model)), cell.state, seconds, escape(note[:160]), style=style)
    console.print(table)
    basis = "the pace of finished cells" if any(cell.state == "ok" for cell in cells) else "the forecast"
    guess = "" if not left else f"; about {duration(left)} of measuring left, by {basis}"
    console.print(", ".join(f"{n} {state}" for state, n in counts(cells).items()) + guess, highlight=False)
    if race:
        ending = f"has ended: {race.ended}" if race.ended else "goes on"
        console.print(f"race: {race.number} of at most {race.rules.rounds} rounds, {ending}", highlight=False)


@app.command()
def retry(
    folder: RunArgument,
    failed: Annotated[bool, typer.Option("--failed", help="Measure the failed cells again (the default).")] = True,
    no_server: NoPrefectServer = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Measure only a run's failed cells again."""
    from flows.cli.retry import check_unchanged

    place = errors if as_json else console
    begun = check_unchanged(folder, lambda plan: show_outside(plan, place))
    request = SweepRequest(begun.file, begun.data_root, folder.parent, begun.changes, bundle=begun.bundle)
    shown = Shown(as_json=as_json, verbose=verbose)
    run_whole(request, shown, retry_failed=True, own_server=no_server, outside_shown=True)


@app.command(short_help="Show and free cache entries that no run needs.")
def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Free it without asking.")] = False,
    release: Annotated[
        str | None, typer.Option("--release", help="Let `gc` free this checkpoint of `quantize` later.")
    ] = None,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Mark this existing folder as bitfrontier's cache. Deletes nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the cache entries that no run needs, and free them after confirmation."""
    from flows.state import kept_checkpoints
    from flows.state.cache_gc import adopt_cache, free, known_runs, unneeded

    if adopt:
        console.print(f"{adopt_cache()} is marked as a cache of bitfrontier", highlight=False, soft_wrap=True)
    if release is not None:
        released = kept_checkpoints.release(release)
        console.print(
            f"{released.name} ({released.label}) is no longer kept. `{program()} gc` frees it", highlight=False
        )
    if adopt or release is not None:
        return
    runs = known_runs()
    entries = unneeded(runs)
    total = sum(entry.bytes for entry in entries)
    if as_json:
        if yes:
            free(entries)
        documents = [{"path": str(entry.path), "bytes": entry.bytes} for entry in entries]
        print(
            json_text(
                {
                    "runs": [str(run) for run in runs],
                    "kept": [asdict(checkpoint) for checkpoint in kept_checkpoints.list_kept()],
                    "unneeded": documents,
                    "bytes": total,
                    "freed": yes,
                }
            )
        )
        return
    table = Table("no run needs", "MB")
    for entry in entries:
        table.add_row(escape(f"{entry.path.parent.name}/{entry.path.name}"), f"{entry.bytes / 1e6:.0f}")
    console.print(table)
    console.print(f"{total / 1e9:.1f} GB. Runs and checkpoints that use the rest:", highlight=False)
    for line in map(str, runs) if runs else ["no run is registered in this cache"]:
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    for checkpoint in kept_checkpoints.list_kept():
        origin = f"{checkpoint.label} of {checkpoint.model}, made by `quantize`"
        line = f"{checkpoint.path} ({origin}; --release {checkpoint.name} lets `gc` free it)"
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    if entries and (yes or typer.confirm("free it?")):
        free(entries)
