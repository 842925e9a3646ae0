"""The same conclusions for a terminal and for scripts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from evals.schema.trial import Trial
from evals.stats.intervals import Estimate
from reports.compare.runs import Comparison
from reports.decision.results import Results
from reports.metrics.cell import CellMetrics
from reports.metrics.cost import costs
from reports.metrics.engine_drift import drifts
from reports.metrics.load import LoadMetrics
from reports.metrics.slo_capacity import Capacity, Served, Waiting, capacities, served
from reports.output.html_report import gib, interval, milliseconds_sure, task_columns
from reports.sections.crossover import crossings, fastest
from reports.sections.device_scaling import scalings
from reports.sections.energy import energies
from reports.sections.engine_ratios import moves
from reports.sections.memory_footprint import footprints
from reports.sections.published_values import anchored
from reports.sections.roofline import bandwidths, rooflines
from reports.sections.seed_variation import spreads

ABOUT = ("name", "models", "command", "device", "threads", "repeats", "limits", "accuracy", "versions", "notes")
CHECKPOINT = ("bytes", "bits_per_weight", "linear_bits_per_weight", "tensor_types", "seconds", "versions")


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
        latency, bits = cell.calmest.latency, (trial.checkpoint or {})["bits_per_weight"]
        table.add_row(
            trial.name, verdicts[trial.key], interval(cell.busiest.output_rate), milliseconds_sure(latency.ttft[0]),
            milliseconds_sure(latency.tpot_p50), gib(cell.peak_bytes), f"{bits:.2f}", interval(cell.accuracy, 100),
            interval(cell.perplexity_ratio),
        )  # fmt: skip
    console.print(table)
    for trial in results.trials:
        if trial.failure:
            text = f"{trial.name} failed, {trial.failure.kind}: {trial.failure.cause}; {trial.failure.remedy}"
            console.print(text, markup=False, highlight=False)
    answer = results.answer
    if answer.chosen is None:
        console.print("no answer", highlight=False)
    else:
        console.print(f"run [bold]{answer.chosen.cell.trial.name}[/bold]: {answer.chosen.why}", highlight=False)
    for caveat in answer.caveats:
        console.print(f"but {caveat}", markup=False, highlight=False)
    if answer.runner_up and answer.ratio:
        ratio = interval(answer.ratio)
        console.print(
            f"next: {answer.runner_up.name}, {ratio} times its output tokens/s", markup=False, highlight=False
        )
    for title, name, text in answer.best:
        console.print(f"{title}: {name}, {text}", markup=False, highlight=False)
    for one in capacities(results.cells):
        console.print(f"{one.name}: {one.text}", markup=False, highlight=False)
    for cost in costs(results.cells, results.about.get("price"), results.service):
        console.print(f"{cost.name}: {cost.text}", markup=False, highlight=False)


def print_comparison(found: Comparison, console: Console) -> None:
    """What changed, then each cell with its checks."""
    for change in found.changes:
        console.print(f"changed: {change}", markup=False, highlight=False)
    table = Table(Column("cell", no_wrap=True), "of", "verdict", "after against before", box=box.SIMPLE)
    for cell in found.cells:
        table.add_row(escape(cell.name), escape("; ".join(cell.changes)), cell.state, style="bold")
        for check in cell.checks:
            style = {"REGRESSION": "red", "PASS": "green"}.get(check.state, "")
            table.add_row("", escape(check.what), check.state, escape(check.text), style=style)
    console.print(table)
    for run, names in ((found.before, found.only_before), (found.after, found.only_after)):
        if names:
            console.print(f"only in {run}: {', '.join(names)}", markup=False, highlight=False)


def as_data(results: Results) -> dict[str, Any]:
    """Plain data: what was run, each cell's status, headline figures and provenance, drift, the answer."""
    cells = {cell.trial.key: cell for cell in results.cells}
    verdicts = {one.cell.trial.key: one.verdict for one in results.judged}
    rows = []
    for trial in results.trials:
        row: dict[str, Any] = {"cell": trial.name, "model": trial.model, "status": trial.status, "reason": trial.reason}
        if trial.failure:
            row["failure"] = asdict(trial.failure)
        if trial.key in cells:
            row |= {"verdict": verdicts[trial.key], **_figures(cells[trial.key]), **_provenance(trial)}
        rows.append(row)
    chosen, won = results.answer.chosen, results.answer.won
    return {
        "sweep": {name: results.about[name] for name in ABOUT},
        "columns": task_columns(results.cells),
        "cells": rows,
        "served": [_served(one) for one in served(results.cells, results.service)],
        "capacities": [_capacity(one) for one in capacities(results.cells)],
        "costs": [asdict(one) for one in costs(results.cells, results.about.get("price"), results.service)],
        "scaling": [asdict(one) for one in scalings(results.cells)],
        "energy": [asdict(one) for one in energies(results.cells)],
        "footprints": [asdict(one) for one in footprints(results.cells, results.about.get("memory"))],
        "frontiers": [
            {"plot": one.plot.title, "cells": [asdict(cell) for cell in one.standings]} for one in results.frontiers
        ],
        "fastest": [asdict(one) for one in fastest(results.allowed)],
        "crossings": [asdict(one) for one in crossings(results.allowed)],
        "bandwidth": bandwidths(results.cells),
        "roofline": [asdict(one) for one in rooflines(results.cells)],
        "moves": [asdict(one) for one in moves(results.cells)],
        "drift": [asdict(one) for one in drifts(results.cells)],
        "flips": [asdict(one) for one in results.compared.flips],
        "likelihoods": [asdict(one) for one in results.compared.likelihoods],
        "anchors": [asdict(one) | {"agrees": one.agrees} for one in anchored(results.cells)],
        "seeds": [asdict(one) for one in spreads(results.cells, results.distances)],
        "closeness": [asdict(one) for one in results.distances],
        "answer": {
            "cell": chosen.cell.trial.name if chosen else None,
            "load": asdict(won.loads[0].load) if won else None,
            "caveats": list(results.answer.caveats),
            "runner_up_ratio": _estimate(results.answer.ratio),
            "others": [asdict(one) for one in results.answer.others],
        },
    }


def _figures(cell: CellMetrics) -> dict[str, Any]:
    latency = cell.calmest.latency
    return {
        "output_tokens_per_second": _estimate(cell.busiest.output_rate),
        "single_output_tokens_per_second": _estimate(cell.calmest.output_rate),
        "ttft_p50_seconds": latency.ttft[0].value,
        "tpot_p50_seconds": latency.tpot_p50_seconds,
        "loads": [_load(one) for one in cell.loads],
        "peak_memory_bytes": cell.peak_bytes,
        "mean_accuracy": _estimate(cell.accuracy),
        "accuracy_recovery": _estimate(cell.recovery),
        "perplexity_ratio": _estimate(cell.perplexity_ratio),
        "tasks": [{"task": one.task, "metric": one.metric, **asdict(one.estimate)} for one in cell.tasks],
    }


def _load(one: LoadMetrics) -> dict[str, Any]:
    """One load point: rates per second with intervals, percentiles 50, 95 and 99 in seconds with theirs."""
    return {
        "load": asdict(one.load),
        "output_tokens_per_second": _estimate(one.output_rate),
        "total_tokens_per_second": _estimate(one.total_rate),
        "requests_per_second": _estimate(one.request_rate),
        "latency_seconds": asdict(one.latency),
        "warnings": list(one.warnings),
        "client_cores": one.client_cores,
    }


def _served(one: Served) -> dict[str, Any]:
    return {"name": one.name, "limits": asdict(one.limits), **_waiting(one.waiting)}


def _capacity(one: Capacity) -> dict[str, Any]:
    plain = {"within": asdict(one.within), "limits": asdict(one.limits), "at": _waiting(one.at) if one.at else None}
    return {
        "name": one.name,
        "model": one.model,
        "kept": one.kept,
        "broken": one.broken,
        "unclear": list(one.unclear),
    } | plain


def _waiting(one: Waiting) -> dict[str, Any]:
    """Seconds at the limits' percentile, the share of good requests, good requests per second."""
    figures = {
        "ttft_seconds": one.ttft,
        "tpot_seconds": one.tpot,
        "good_share": one.good,
        "goodput_per_second": one.goodput,
    }
    return {**_load(one.load), **{name: _estimate(value) for name, value in figures.items()}}


def _provenance(trial: Trial) -> dict[str, Any]:
    checkpoint = trial.checkpoint or {}
    return {
        "seconds": dict(trial.seconds),
        "gates": [asdict(gate) for gate in trial.gates],
        "engine_facts": dict(trial.facts),
        "engine_options": trial.provenance.get("engine_options"),
        "checkpoint": {name: checkpoint[name] for name in CHECKPOINT if name in checkpoint},
    }


def _estimate(one: Estimate | None) -> dict[str, Any] | None:
    return asdict(one) if one else None
