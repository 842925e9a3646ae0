"""Two runs held against each other, for a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from reports.compare.runs import Comparison


def print_comparison(comparison: Comparison, console: Console) -> None:
    """What changed, each cell with its checks, then the verdict on the whole."""
    for change in comparison.changes:
        console.print(f"changed: {change}", markup=False, highlight=False)
    table = Table(Column("cell", no_wrap=True), "of", "verdict", "after against before", box=box.SIMPLE)
    for cell in comparison.cells:
        table.add_row(escape(cell.name), escape("; ".join(cell.changes)), cell.state, style="bold")
        for check in cell.checks:
            style = {"REGRESSION": "red", "PASS": "green"}.get(check.state, "")
            table.add_row("", escape(check.figure), check.state, escape(check.text), style=style)
    if comparison.common is not None:
        common = comparison.common
        table.add_row(escape(common.figure), "", common.state, escape(common.text), style="bold")
    console.print(table)
    console.print(comparison.rates_by, highlight=False)
    for run, names in ((comparison.before, comparison.only_before), (comparison.after, comparison.only_after)):
        if names:
            console.print(f"only in {run}: {', '.join(names)}", markup=False, highlight=False)
    if comparison.same:
        console.print("Both are the same run: all measurements are identical.", highlight=False)
    console.print(f"Overall: {comparison.verdict}", style="bold", highlight=False)
