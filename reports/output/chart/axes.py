"""What the frontier chart can show against what: axes by name, where the script reads them, and probabilities.

An axis is read from a cell of `reports.output.interactive_data` by its name, or from one of its loads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.stats.combined_intervals import mean_of
from evals.stats.intervals import Estimate, exact
from reports.decision.frontier.frontiers import Axis, Frontier, Plot, Read, each_drawn, frontiers_on, plots
from reports.decision.ranking import OBJECTIVES
from reports.decision.results import Results
from reports.metrics.cell import CellMetrics
from reports.metrics.cost import Price
from reports.metrics.definitions.table import of_axis
from reports.metrics.divergence import largest_kl
from reports.metrics.ratios import mean_draws

DRAWN = ("throughput", "memory", "latency", "cost")  # axes on which probabilities are drawn against the first quality
FIRST = "throughput"


@dataclass(frozen=True)
class Quality:
    """One measure of what quantization lost: with `less`, a smaller value is better."""

    name: str
    label: str
    less: bool


# the sharpest first: log-likelihoods tell more of a token than answers of a question, pairs more than two means
QUALITIES = (
    Quality("perplexity", "perplexity ÷ own baseline's", True),
    Quality("divergence", "KL divergence from own baseline, nats", True),
    Quality("difference", "accuracy − own baseline's, points", False),
    Quality("recovery", "accuracy ÷ own baseline's", False),
    Quality("accuracy", "mean accuracy, %", False),
)

MEMORY = Quality("memory", "needed memory, GiB", True)


def chart_data(results: Results, cells: Sequence[Mapping[str, Any]], page: Mapping[str, Any]) -> dict[str, Any]:
    """The axes that some cell has a figure on, those shown first (of what the plan wants the best of), and each cell's
    probability of being Pareto-optimal where it was drawn; `cells` and the rest of the `page` are the script's.
    """

    def values(axis: Mapping[str, Any]) -> list[Any]:
        if "load" in axis:
            return [load.get(axis["field"]) for cell in cells for load in cell["loads"] if load["load"] == axis["load"]]
        return [axis["name"] in (FIRST, "cost") or cell[axis["name"]] for cell in cells]

    x = [axis for axis in _x_axes(results, page) if any(values(axis))]
    y = [
        _axis(quality.name, quality.label, "Quality lost" if quality is not MEMORY else "Size", less=quality.less)
        for quality in (*QUALITIES, MEMORY)
        if any(cell[quality.name] for cell in cells)
    ]
    first = first_quality(cells)
    names = [axis["name"] for axis in x]
    wanted = {"capacity": "within", "latency": "latency"}.get(results.planned.aim.objective, FIRST)
    return {
        "x": x if first else [],
        "y": y,
        "first": {"x": wanted if wanted in names else next(iter(names), ""), "y": first.name if first else ""},
        "odds": _odds(results, first) if first else [],
    }


def first_quality(cells: Sequence[Mapping[str, Any]]) -> Quality | None:
    """The sharpest of those that most quantized cells have, else memory; None where no cell has any. Baselines, which
    lose nothing to themselves, differ in accuracy alone.
    """
    quantized = [cell for cell in cells if not cell["baseline"]]
    counts = {quality: sum(bool(cell[quality.name]) for cell in quantized) for quality in QUALITIES}
    most = max(counts.values())
    if most:
        return next(quality for quality, count in counts.items() if count == most)
    return next((quality for quality in (QUALITIES[-1], MEMORY) if any(cell[quality.name] for cell in cells)), None)


def _x_axes(results: Results, page: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All that may be. The throughput at the busiest load, and with it the cost, follow the mix that the page is set
    to; the others are of one load each. An open load's output rate is what was offered: it is no cell's figure.
    """
    busiest = next((cell.busiest.load.label for cell in results.cells if cell.loads), "")
    closed = {load.load.label for cell in results.cells for load in cell.loads if load.load.concurrency is not None}
    calmest = next((cell.calmest.load.label for cell in results.cells if cell.loads), "")
    axes = [
        *([_axis(FIRST, "output tokens/s", "Throughput", less=False, at=busiest)] if busiest in closed else []),
        *(
            axis
            for axis in _of_loads(page, "rate", "output tokens/s", "Throughput", less=False)
            if page["loads"][axis["load"]]["label"] in closed - {busiest}
        ),
        _axis("latency", f"median end-to-end latency at {calmest}, s", "Latency", less=True),
        *_of_percentiles(page, "ttft", "TTFT"),
        *_of_percentiles(page, "tpot", "TPOT"),
        _axis("within", OBJECTIVES["capacity"].title, "Size, capacity, cost", less=False),
        _axis("memory", "needed memory, GiB", "Size, capacity, cost", less=True),
        _axis("bits", "bits per weight", "Size, capacity, cost", less=True),
        _axis(
            "cost",
            f"{page['currency'] or 'cost'} per million output tokens",
            "Size, capacity, cost",
            less=True,
            at=busiest,
        ),
        *_of_loads(page, "joules", "J per output token", "Size, capacity, cost", less=True),
    ]
    if len(results.models) > 1 and busiest in closed:
        axes.insert(1, _axis("textRate", f"bytes of text per second at {busiest}", "Throughput", less=False))
    return axes


def _axis(name: str, label: str, group: str, *, less: bool, at: str = "") -> dict[str, Any]:
    about = of_axis(name)
    assert about is not None, name
    return {"name": name, "label": label, "group": group, "less": less, "at": at, "about": about.name}


def _of_loads(page: Mapping[str, Any], field: str, label: str, group: str, *, less: bool) -> list[dict[str, Any]]:
    return [
        {**_axis(f"{field}-{number}", f"{label} at {load['label']}", group, less=less), "load": number, "field": field}
        for number, load in enumerate(page["loads"])
    ]


def _of_percentiles(page: Mapping[str, Any], field: str, label: str) -> list[dict[str, Any]]:
    """In milliseconds."""
    return [
        {
            **_axis(f"{field}-{number}-{percent:g}", f"{label} p{percent:g} at {load['label']}, ms", label, less=True),
            "load": number,
            "field": field,
            "place": place,
        }
        for number, load in enumerate(page["loads"])
        for place, percent in enumerate(page["percentiles"])
    ]


def paired_differences(results: Results) -> dict[str, Estimate]:
    """Mean accuracy less the baseline's in percentage points, over the tasks of each cell, by the cells' names."""
    parts: dict[str, list[Estimate]] = {}
    for flips in results.compared.flips:
        parts.setdefault(flips.name, []).append(flips.paired.difference)
    return {name: mean_of(differences).map(lambda share: 100 * share) for name, differences in parts.items()}


def quality_read(results: Results, name: str) -> Read:
    """How a quality that is no axis of the plan's own figures is read: the unquantized model loses nothing."""
    differences, kl = paired_differences(results), largest_kl(results.distances)

    def difference(cell: CellMetrics) -> Estimate | None:
        return exact(0.0) if cell.is_baseline and cell.accuracy else differences.get(cell.trial.name)

    def divergence(cell: CellMetrics) -> Estimate | None:
        return exact(0.0) if cell.is_baseline and kl else kl.get(cell.trial.key)

    reads: dict[str, Read] = {
        "difference": difference,
        "divergence": divergence,
        "recovery": lambda cell: cell.recovery,
    }
    return reads[name]


def _odds(results: Results, quality: Quality) -> list[dict[str, Any]]:
    """Of the plan's own plots, and of the first quality against what else is drawn, under the plan's setting."""
    places = {cell.trial.key: number for number, cell in enumerate(results.cells)}
    keys = {(cell.trial.model, cell.trial.name): cell.trial.key for cell in results.cells}

    def shown(front: Frontier) -> dict[str, Any]:
        models = {standing.model for standing in front.standings}
        return {
            "x": front.plot.x.name,
            "y": front.plot.y.name,
            "model": models.pop() if len(models) == 1 else None,
            "cells": [places[keys[standing.model, standing.name]] for standing in front.standings],
            "odds": [None if s.odds is None else round(s.odds, 4) for s in front.standings],
        }

    drawn = [shown(front) for front in results.frontiers]
    known = {(front["x"], front["y"]) for front in drawn}
    for model in results.models:
        allowed = [cell for cell in results.allowed if cell.trial.model == model]
        wanted = [plot for plot in _against(results, quality, allowed) if (plot.x.name, plot.y.name) not in known]
        drawn += [shown(front) for front in frontiers_on(allowed, wanted)]
    return drawn


def _against(results: Results, quality: Quality, allowed: Sequence[CellMetrics]) -> list[Plot]:
    if not allowed:
        return []
    price: Price | None = results.planned.aim.price
    charts = plots(allowed[0].busiest.load.label, allowed[0].calmest.load.label, price, {})
    axes = {axis.name: axis for chart in charts for axis in (chart.x, chart.y)}
    if quality.name not in axes:
        read = quality_read(results, quality.name)
        axes[quality.name] = Axis(quality.name, read, quality.label, quality.less, each_drawn(read, mean_draws))
    y = axes[quality.name]
    return [Plot(f"{y.name}-{name}", "", axes[name], y) for name in DRAWN if name in axes]
