"""`index.html` beside runs: all runs of a folder, newest first, each held against the one before it of the same plan.

Only each run's `sweep.json` and its summary are read. What is damaged is a row with the reason; links, and folders that
are no runs, are left out.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from evals.schema.run_file import RUN_FILE, read_run
from quant.canonical_json import read_regular, write_whole
from quant.errors import BitfrontierError, program, without_controls
from reports.output.formatting import times
from reports.output.html_report import render_runs, write_report
from reports.output.index.run_summary import SUMMARY_FILE, AnswerSummary, RunSummary, read_summary

logger = logging.getLogger(__name__)

INDEX_FILE = "index.html"
MARK = b'<meta name="generator" content="bitfrontier runs">'  # in our own page alone: another is not written over
MARK_BYTES = 4096
MOST_RUNS = 1000
MOST_TRIES = 3
MOST_LETTERS = 250  # of a name in `sweep.json`, which may be of any length: those of folders have no more


@dataclass(frozen=True)
class RunRow:
    """A run by its folder's `name`. `report` is the address of its page, empty where it has none; `reason`: why
    nothing else is known of it. `changes` are of its answers, in their order, against the run `before` it.
    """

    name: str
    report: str
    plan: str = ""
    models: str = ""
    machine: str = ""
    summary: RunSummary | None = None
    reason: str = ""
    before: str = ""
    changes: tuple[str, ...] = ()

    @property
    def measured(self) -> str:
        """When its newest cell was begun, in UTC; empty where that is not known."""
        return self.summary.measured if self.summary else ""

    @property
    def counted(self) -> str:
        """How many cells ended how."""
        return ", ".join(f"{count} {status}" for status, count in self.summary.cells.items()) if self.summary else ""


def write_report_and_index(folder: Path) -> Path:
    """Write a run's report, then the page of all runs beside it; that one's failure is a line of the log."""
    report = write_report(folder)
    write_index(folder.absolute().parent)
    return report


def write_index(runs: Path) -> None:
    """Write the page, unless a page that is not ours has its name. Once more where a run's report was written beside
    this meanwhile: whoever looked first must not write last, without the other's run.
    """
    file = runs / INDEX_FILE
    try:
        with contextlib.suppress(FileNotFoundError):
            if MARK not in read_regular(file)[:MARK_BYTES]:
                logger.warning("%s is not written: the existing file is not from bitfrontier", file)
                return
        for _ in range(MOST_TRIES):
            before = sorted(_run_folders(runs), reverse=True)
            write_whole(file, render_runs(run_rows(runs, before[:MOST_RUNS]), max(len(before) - MOST_RUNS, 0)))
            if sorted(_run_folders(runs), reverse=True) == before:
                return
    except (OSError, BitfrontierError) as error:
        logger.warning("%s was not written: %s", file, error)


def run_rows(runs: Path, folders: Sequence[RunFolder]) -> list[RunRow]:
    """The rows of these, newest first and those without a date last, each with what changed since the one before it."""
    rows = [_row(runs / folder.name) for folder in folders]
    rows.sort(key=lambda row: (row.measured, row.name), reverse=True)  # a file's time is when it was copied, perhaps
    return [_against_before(row, rows[place + 1 :]) for place, row in enumerate(rows)]


class RunFolder(NamedTuple):
    """When `sweep.json` of a run and its summary were written; no time for a summary that is not there."""

    modified: float
    summarized: float
    name: str


def _run_folders(runs: Path) -> Iterator[RunFolder]:
    with os.scandir(runs) as entries:
        folders = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    for name in folders:
        with contextlib.suppress(OSError):  # no run, gone meanwhile, or not ours to look into
            status = (runs / name / RUN_FILE).lstat()
            summary = runs / name / SUMMARY_FILE
            if stat.S_ISREG(status.st_mode):
                written = summary.lstat().st_mtime if summary.is_symlink() or summary.exists() else 0.0
                yield RunFolder(status.st_mtime, written, name)


def _row(folder: Path) -> RunRow:
    name = without_controls(folder.name)
    has_report = (folder / "report.html").is_file() and not (folder / "report.html").is_symlink()
    report = f"{quote(folder.name, errors='surrogateescape')}/report.html" if has_report else ""
    row = RunRow(name, report)
    try:
        about = read_run(folder)
        row = replace(
            row,
            plan=without_controls(str(about.get("name") or "")[:MOST_LETTERS]),
            models=without_controls(", ".join(map(str, about.get("models", ())))[:MOST_LETTERS]),
            machine=without_controls(str(about.get("device") or "")[:MOST_LETTERS]),
        )
        summary = read_summary(folder)
    except BitfrontierError as error:
        return replace(row, reason=without_controls(str(error)).replace(f"{folder.parent}/", ""))
    if summary is None:
        return replace(row, reason=f"no summary: no report yet, or one of an older version. Run `{program()} report`")
    return replace(row, summary=summary, machine=without_controls(summary.machine))


def _against_before(row: RunRow, older: Sequence[RunRow]) -> RunRow:
    """The row with what changed since the run before it of the same plan."""
    if row.summary is None:
        return row
    plan, measured = row.summary.plan, row.measured  # a copy of it was measured at the same time
    same = [o for o in older if o.summary and o.summary.plan == plan and o.measured and o.measured < measured]
    if not same or same[0].summary is None:
        return row
    before = {answer.model: answer for answer in same[0].summary.answers}
    if same[0].summary.machine != row.summary.machine:
        return replace(row, before=same[0].name, changes=("not compared: measured on another machine",))
    changes = tuple(_change(answer, before.get(answer.model)) for answer in row.summary.answers)
    return replace(row, before=same[0].name, changes=changes)


def _change(now: AnswerSummary, before: AnswerSummary | None) -> str:
    """Of the recommended cell's figure and its quality. No interval: what a machine does to a whole run is in none that
    the two runs show, and `bitfrontier compare` judges with it.
    """
    if before is None or not before.cell or not now.cell:
        return "" if before is None or before.cell == now.cell else f"was {before.cell or 'no recommendation'}"
    cell = "the same cell" if before.cell == now.cell else f"was {before.cell}"
    if (now.unit, now.at) != (before.unit, before.at) or not now.value or not before.value:
        figure = f"was {before.figure_text} (another figure)"
    else:
        figure = f"{times(now.value / before.value)} × its {now.unit}"
    quality = f"quality lost {now.quality}, was {before.quality}" if now.quality != before.quality else ""
    return "; ".join(part for part in (figure, cell, quality) if part)
