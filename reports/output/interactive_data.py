"""What the page needs to conclude again under another setting, by itself: figures with their intervals as plain data.

`templates/conclude.js` computes from it what `reports.decision.results.Results.under` does from the trials. An
interval is [value, low, high] with null for an end that has no bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.metrics.slo import keeps_up
from evals.metrics.steady_state import steady
from evals.schema.load import LoadPoint, Speed
from evals.schema.slo import ServiceLimits
from evals.stats.intervals import Estimate, percentile_interval
from reports.decision.frontiers import Axis, Plot, plots
from reports.decision.ranking import OBJECTIVES, Aim
from reports.decision.results import Results, Setting
from reports.decision.use_cases import uses
from reports.metrics.cell import CellMetrics
from reports.metrics.cost import Price
from reports.metrics.divergence import largest_kl
from reports.metrics.figures_of_merit import accuracy_percent, bits_per_weight, latency_seconds, peak_gib
from reports.metrics.load import LoadMetrics
from reports.sections.roofline import warnings_of

PERCENTILES = (50.0, 90.0, 95.0, 99.0)
Interval = list[float | None]


@dataclass(frozen=True)
class _Columns:
    """What cells' figures are numbered by, and the divergences of all."""

    loads: list[LoadPoint]
    percentiles: list[float]
    kl: Mapping[str, Estimate]
    doubts: Mapping[str, Sequence[str]]


def page_data(results: Results) -> dict[str, Any]:
    """Everything that the page's controls work on."""
    loads = list(dict.fromkeys(load.load for cell in results.cells for load in cell.loads))
    promised = [results.service.percentile] if results.service else []
    columns = _Columns(loads, sorted({*PERCENTILES, *promised}), largest_kl(results.distances), results.doubts)
    price = results.planned.aim.price
    return {
        "percentiles": columns.percentiles,
        "loads": [{"label": one.label, "sizes": one.sizes} for one in loads],
        "cells": [_cell(one, columns) for one in results.cells],
        "plots": [_plot(one) for one in _plots(results)],
        "objectives": {
            name: {"title": one.title, "unit": one.unit, "less": one.less} for name, one in OBJECTIVES.items()
        },
        "planned": _setting(results.planned),
        "uses": [{"name": one.name, "asks": one.asks, **_aim(one.aim)} for one in uses(results.service)],
        "currency": price.currency if price else "",
    }


def _setting(one: Setting) -> dict[str, Any]:
    limits = {
        "recovery": one.limits.accuracy_recovery, "perplexity": one.limits.perplexity_ratio,
        "kl": one.limits.kl_nats, "memory": one.limits.memory_gib,
    }  # fmt: skip
    return {**limits, **_aim(one.aim), **_price(one.aim.price)}


def _price(one: Price | None) -> dict[str, Any]:
    return {"price": one.per_device_hour if one else None, "cost": one.most_per_million if one else None}


def _aim(one: Aim) -> dict[str, Any]:
    service = one.service or ServiceLimits(None, None, 95.0)
    return {
        "objective": one.objective, "ttft": service.ttft_seconds, "tpot": service.tpot_seconds,
        "percentile": service.percentile,
    }  # fmt: skip


def _cell(cell: CellMetrics, columns: _Columns) -> dict[str, Any]:
    trial = cell.trial
    pairs = zip(trial.speed, cell.loads, strict=True)
    return {
        "name": trial.name, "model": trial.model, "method": trial.method_label, "engine": trial.engine,
        "device": trial.device, "devices": trial.devices, "doubts": "; ".join(columns.doubts[trial.key]),
        "baseline": cell.is_baseline, "unquantized": trial.unquantized, "recovery": interval(cell.recovery),
        "perplexity": interval(cell.perplexity_ratio), "kl": interval(columns.kl.get(trial.key)),
        "accuracy": interval(accuracy_percent(cell)), "memory": interval(peak_gib(cell)),
        "bits": interval(bits_per_weight(cell)), "latency": interval(latency_seconds(cell)),
        "busiest": cell.loads.index(cell.busiest) if cell.loads else None,
        "loads": [_load(speed, found, columns) for speed, found in pairs],
        "slow": list(warnings_of(trial)),
    }  # fmt: skip


def _load(speed: Speed, found: LoadMetrics, columns: _Columns) -> dict[str, Any]:
    counted = steady(speed)
    return {
        "load": columns.loads.index(speed.load),
        "rate": interval(found.output_rate),
        "keepsUp": keeps_up(speed),
        "ttft": _waits([one.ttft_seconds for one in counted.started], columns),
        "tpot": _waits([one.tpot_seconds for one in counted.whole], columns),
        "warnings": list(found.warnings),
    }


def _waits(seconds: Sequence[float | None], columns: _Columns) -> list[Interval] | None:
    """At each percentile; None where one is not known, as then nothing is."""
    known = [one for one in seconds if one is not None]
    if len(known) < len(seconds) or not known:
        return None
    return [_plain(percentile_interval(known, percent)) for percent in columns.percentiles]


def interval(one: Estimate | None) -> Interval | None:
    """None for what is no number either: nothing can be said of it."""
    return _plain(one) if one and math.isfinite(one.value) else None


def _plain(one: Estimate) -> Interval:
    """Nine digits: more than any measurement has, fewer bytes."""
    ends = (one.value, one.low, one.high)
    return [float(f"{value:.9g}") if math.isfinite(value) else None for value in ends]


def _plots(results: Results) -> Sequence[Plot]:
    """All that some cell has both figures for; those with a price without one too, for the page can be told one."""
    allowed = [cell for cell in results.cells if cell.loads]
    if not allowed:
        return []
    price = results.planned.aim.price or Price(1.0, "price's currency")
    found = plots(allowed[0].busiest.load.label, allowed[0].calmest.load.label, price, {})
    return [one for one in found if any(one.x.read(cell) and one.y.read(cell) for cell in allowed)]


def _plot(one: Plot) -> dict[str, Any]:
    return {"name": one.name, "title": one.title, "x": _axis(one.x), "y": _axis(one.y)}


def _axis(one: Axis) -> dict[str, Any]:
    return {"name": one.name, "label": one.label, "at": one.at, "less": one.less}
