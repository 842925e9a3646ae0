"""The same conclusions for a terminal and for scripts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Column, Table

from evals.statistics import Estimate
from reports.html import Results, gib, interval, milliseconds, task_columns


def print_results(results: Results, console: Console) -> None:
    """A table of all cells, then the answer."""
    columns = ("status", "tok/s", "TTFT ms", "TPOT ms", "peak GiB", "bits", "mean accuracy %", "ppl ratio")
    table = Table(Column("cell", no_wrap=True), *columns, box=box.SIMPLE)
    cells = {cell.trial.key: cell for cell in results.cells}
    verdicts = {one.cell.trial.key: one.verdict for one in results.judged}
    for trial in results.trials:
        cell = cells.get(trial.key)
        if cell is None:
            table.add_row(trial.name, trial.status, *[""] * 7)
            continue
        latency = cell.calmest.latency
        table.add_row(
            trial.name, verdicts[trial.key], interval(cell.busiest.output_rate), milliseconds(latency.ttft[0]),
            milliseconds(latency.tpot[0]), gib(cell.peak_bytes), f"{(trial.checkpoint or {})['bits_per_weight']:.2f}",
            interval(cell.accuracy, 100), interval(cell.perplexity_ratio),
        )  # fmt: skip
    console.print(table)
    answer = results.answer
    if answer.chosen is None:
        console.print("no answer", highlight=False)
    else:
        console.print(f"run [bold]{answer.chosen.cell.trial.name}[/bold]: {answer.chosen.why}", highlight=False)
    for caveat in answer.caveats:
        console.print(f"but {caveat}", markup=False, highlight=False)
    for title, name, text in answer.best:
        console.print(f"{title}: {name}, {text}", markup=False, highlight=False)


def as_data(results: Results) -> dict[str, Any]:
    """Plain data: each cell's status and headline figures, and the answer."""
    cells = {cell.trial.key: cell for cell in results.cells}
    verdicts = {one.cell.trial.key: one for one in results.judged}
    rows = []
    for trial in results.trials:
        row: dict[str, Any] = {"cell": trial.name, "model": trial.model, "status": trial.status, "reason": trial.reason}
        cell = cells.get(trial.key)
        if cell is not None:
            row |= {
                "verdict": verdicts[trial.key].verdict,
                "output_tokens_per_second": _estimate(cell.busiest.output_rate),
                "peak_memory_bytes": cell.peak_bytes,
                "mean_accuracy": _estimate(cell.accuracy),
                "accuracy_recovery": _estimate(cell.recovery),
                "perplexity_ratio": _estimate(cell.perplexity_ratio),
                "tasks": [{"task": one.task, "metric": one.metric, **asdict(one.estimate)} for one in cell.tasks],
            }
        rows.append(row)
    chosen = results.answer.chosen
    return {
        "columns": task_columns(results.cells),
        "cells": rows,
        "answer": {"cell": chosen.cell.trial.name if chosen else None, "caveats": list(results.answer.caveats)},
    }


def _estimate(one: Estimate | None) -> dict[str, Any] | None:
    return asdict(one) if one else None
