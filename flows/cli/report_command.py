"""`bitfrontier report`."""

from __future__ import annotations

import os
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.app import RunArgument, Verbose, app
from flows.cli.sweep_command import Shown, errors, show_results

SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


@app.command()
def report(
    folder: RunArgument,
    open_it: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
    verbose: Verbose = False,
) -> None:
    """Write a run's report again from its trial files. Exits 0 if the report was written, even where cells failed."""
    from evals.schema.run_file import read_run
    from reports.output.index.runs_page import write_report_and_index

    read_run(folder)
    page = write_report_and_index(folder)
    show_results(page, Shown(verbose=verbose))
    if open_it and not opened(page):
        place = page.absolute()
        errors.print(f"no browser could be opened. Open {place}", markup=False, highlight=False, soft_wrap=True)


def opened(page: Path) -> bool:
    """Whether a browser was asked to show it. Without a screen none is, unless the user names one in BROWSER: those
    that run in a terminal would take this one.
    """
    if not any(os.environ.get(name) for name in SCREENS):
        return False
    try:
        return webbrowser.open(page.absolute().as_uri())
    except (webbrowser.Error, OSError, ValueError, IndexError):  # the last two: of a BROWSER that is no command
        return False
