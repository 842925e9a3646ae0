"""What the page needs to conclude again under another setting, by itself: figures with their intervals as plain data.

`templates/conclude.js` computes from it what `reports.decision.results.Results.under` does from the trials, by the same
table of rules. An interval is [value, low, high] with null for an end that has no bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evals.metrics.saturation import keeps_up
from evals.metrics.slo import ttft_and_tpot
from evals.schema.load import LoadPoint, Speed
from evals.schema.slo import SLO
from evals.stats.intervals import Clustered, Estimate, percentile_interval
from reports.decision.frontier.frontiers import Read, text_plot
from reports.decision.ranking import OBJECTIVES, Aim
from reports.decision.recommend import widening
from reports.decision.results import Results, Setting
from reports.decision.rules import LIMITS, TABLE
from reports.decision.use_cases import uses
from reports.metrics.cell import CellMetrics
from reports.metrics.divergence import largest_kl
from reports.metrics.engine_loss import AgainstReference, EngineLoss
from reports.metrics.figures_of_merit import accuracy_percent, bits_per_weight, latency_seconds, needed_gib
from reports.metrics.load import LoadMetrics
from reports.metrics.slo_capacity import first_capacity
from reports.output.chart.axes import chart_data, quality_read
from reports.sections.energy import energies
from reports.sections.roofline import warnings_of

PERCENTILES = (50.0, 90.0, 95.0, 99.0)
Interval = list[float | None]


@dataclass(frozen=True)
class _Columns:
    """What cells' figures are numbered by, and the divergences of all."""

    loads: list[LoadPoint]
    percentiles: list[float]
    kl: Mapping[str, Estimate]
    results: Results
    divergence: Read
    difference: Read
    joules: Mapping[tuple[str, LoadPoint], Estimate]


def page_data(results: Results) -> dict[str, Any]:
    """Everything that the page's controls work on."""
    loads = list(dict.fromkeys(load.load for cell in results.cells for load in cell.loads))
    slo_percentile = [results.slo.percentile] if results.slo else []
    columns = _Columns(
        loads=loads,
        percentiles=sorted({*PERCENTILES, *slo_percentile}),
        kl=largest_kl(results.distances),
        results=results,
        divergence=quality_read(results, "divergence"),
        difference=quality_read(results, "difference"),
        joules={
            (usage.name, usage.load): usage.joules_per_token
            for usage in energies(results.cells, results.speed_models)
            if usage.joules_per_token
        },
    )
    price, families = results.planned.aim.price, list(dict.fromkeys(map(_family, loads)))
    cells = [_cell(cell, columns) for cell in results.cells]
    page = {
        "percentiles": columns.percentiles,
        "loads": [
            {
                "label": load.label,
                "sizes": load.sizes,
                "family": families.index(_family(load)),
                "amount": load.concurrency or load.rate_per_second,
            }
            for load in loads
        ],
        "families": families,
        "cells": cells,
        "models": results.models,
        "rules": {name: part for name, part in TABLE.items() if name != "objectives"},
        "objectives": {
            name: {key: getattr(objective, key) for key in ("title", "unit", "digits", "less", "gain", "maybe")}
            for name, objective in OBJECTIVES.items()
            if name != "capacity" or any(cell["capacity"] for cell in cells)
        },
        "widening": [widening(count + 1) for count in range(len(cells))],
        "planned": _setting(results.planned),
        "uses": [{"name": use.name, "asks": use.asks, **_aim(use.aim)} for use in uses(results)],
        "currency": price.currency if price else "",
    }
    return {**page, "chart": chart_data(results, cells, page)}


def _family(load: LoadPoint) -> str:
    """What all loads of one latency–throughput curve share: they differ in concurrency or rate alone."""
    kind = "closed loop" if load.concurrency is not None else f"open load, {load.arrivals}"
    cv = f" with a coefficient of variation of {load.arrival_cv:g}" if load.arrivals == "gamma" else ""
    turns = f", {load.turns} turns" if load.turns > 1 else ""
    shared = f", {load.shared_prefix_tokens} shared" if load.shared_prefix_tokens else ""
    return f"{f'{load.source}: ' if load.source else ''}{kind}{cv}, {load.sizes} tokens{shared}{turns}"


def _setting(setting: Setting) -> dict[str, Any]:
    return {
        **{rule.key: getattr(setting.limits, rule.field) for rule in LIMITS.values() if rule.of == "cell"},
        **_aim(setting.aim),
        "price": setting.aim.price.per_device_hour if setting.aim.price else None,
        "cost": setting.aim.price.max_cost_per_million_tokens if setting.aim.price else None,
    }


def _aim(aim: Aim) -> dict[str, Any]:
    return {"objective": aim.objective, **_slo(aim.slo or SLO(None, None, 95.0))}


def _slo(slo: SLO) -> dict[str, Any]:
    return {"ttft": slo.ttft_seconds, "tpot": slo.tpot_seconds, "percentile": slo.percentile}


def _cell(cell: CellMetrics, columns: _Columns) -> dict[str, Any]:
    trial = cell.trial
    pairs = zip(trial.speed, cell.loads, strict=True)
    return {
        "name": trial.name,
        "model": trial.model,
        "method": trial.method_label,
        "engine": trial.engine,
        "device": trial.device,
        "devices": trial.devices,
        "doubts": "; ".join(columns.results.doubts[trial.key]),
        "baseline": cell.is_baseline,
        "unquantized": trial.unquantized,
        "recovery": interval(cell.recovery),
        "perplexity": interval(cell.perplexity_ratio),
        "kl": interval(columns.kl.get(trial.key)),
        "accuracy": interval(accuracy_percent(cell)),
        "memory": interval(needed_gib(cell)),
        "bits": interval(bits_per_weight(cell)),
        "latency": interval(latency_seconds(cell)),
        "divergence": interval(columns.divergence(cell)),
        "difference": interval(columns.difference(cell)),
        "within": interval(capacity.figure) if (capacity := first_capacity(cell)) else None,
        "textRate": interval(text_plot("", columns.results.bytes_per_token).x.read(cell)),
        "capacity": _capacity(cell),
        "busiest": cell.loads.index(cell.busiest) if cell.loads else None,
        "calmest": cell.loads.index(cell.calmest) if cell.loads else None,
        "loads": [_load(trial.name, speed, metrics, columns) for speed, metrics in pairs],
        "slow": list(warnings_of(trial)),
        "engineLoss": _loss(columns.results.losses.get(trial.server)),
        "direct": _direct(columns.results.direct.get(trial.key)),
        "checkpoint": (trial.checkpoint or {}).get("key", trial.key),
        "silent": trial.scores == (),
        **({"tied": tied} if (tied := columns.results.planned.aim.tied.get(trial.key)) is not None else {}),
        **({"nothingRecovered": True} if cell.nothing_recovered else {}),
    }


def _capacity(cell: CellMetrics) -> dict[str, Any] | None:
    """With the SLO that it is of, the load at which it was measured, and whether that was confirmed."""
    capacity = first_capacity(cell)
    if capacity is None or (at := capacity.load) is None:
        return None
    load = {"label": at.load.label, "rate": interval(at.output_rate), "warnings": list(at.warnings)}
    is_met = capacity.met is not None
    return {**_slo(capacity.limits), "figure": interval(capacity.figure), "load": load, "met": is_met}


def _loss(loss: EngineLoss | None) -> dict[str, Any] | None:
    """None for the engine that is the reference."""
    if loss is None:
        return None
    names = {
        "engine": loss.engine,
        "reference": loss.reference,
        "same": loss.same_answers,
        "sameTokens": loss.same_tokens,
    }
    return {**names, "recovery": interval(loss.recovery), "perplexity": interval(loss.perplexity_ratio)}


def _direct(direct: AgainstReference | None) -> dict[str, Any] | None:
    """None where the cell is not compared with the model's reference itself."""
    if direct is None:
        return None
    quality = direct.quality
    figures = {"recovery": interval(quality.recovery), "perplexity": interval(quality.perplexity_ratio)}
    return {"reference": direct.reference, "nothingRecovered": quality.nothing_recovered, **figures}


def _load(name: str, speed: Speed, metrics: LoadMetrics, columns: _Columns) -> dict[str, Any]:
    first, later = ttft_and_tpot(speed)
    return {
        "load": columns.loads.index(speed.load),
        "rate": interval(metrics.output_rate),
        **({"joules": interval(joules)} if (joules := columns.joules.get((name, speed.load))) else {}),
        "keepsUp": keeps_up(speed),
        "ttft": _waits(first, columns),
        "tpot": _waits(later, columns),
        "warnings": list(metrics.warnings),
    }


def _waits(sample: Clustered | None, columns: _Columns) -> list[Interval] | None:
    """At each percentile; None where one is not known, as then nothing is."""
    if sample is None:
        return None
    return [_plain(percentile_interval(sample, percent)) for percent in columns.percentiles]


def interval(estimate: Estimate | None) -> Interval | None:
    """None for what is no number either: nothing can be said of it."""
    return _plain(estimate) if estimate and math.isfinite(estimate.value) else None


def _plain(estimate: Estimate) -> Interval:
    """Nine digits: more than any measurement has, fewer bytes."""
    figures = (estimate.value, estimate.low, estimate.high)
    return [float(f"{value:.9g}") if math.isfinite(value) else None for value in figures]
