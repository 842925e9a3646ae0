"""How much faster a cell is on more devices, and how much of what they would give at best."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from engines.parallelism import NAMES
from evals.schema.load import LoadPoint
from evals.schema.trial import Trial
from evals.stats.intervals import CONFIDENCE, Estimate
from reports.metrics.cell import CellMetrics


@dataclass(frozen=True)
class Scaling:
    """One load point of one cell on `devices`, held against the same method and engine on `base_devices`, the fewest.

    `ratio`: output tokens per second ÷ those of the base. `efficiency`: that ÷ how many times as many devices it has.
    """

    name: str
    model: str
    base: str
    load: LoadPoint
    devices: int
    base_devices: int
    ratio: Estimate
    efficiency: Estimate


def scalings(cells: Sequence[CellMetrics]) -> list[Scaling]:
    """Every cell that runs on more devices than another one that is the same in all else, at each load of both."""
    groups: dict[str, list[tuple[int, CellMetrics]]] = {}
    for cell in cells:
        if (devices := cell.trial.devices) is not None:
            groups.setdefault(_all_else(cell.trial), []).append((devices, cell))
    results = []
    for group in groups.values():
        fewest, base = min(group, key=lambda pair: pair[0])
        for devices, cell in sorted(group, key=lambda pair: pair[0]):
            if devices > fewest:
                results += _scaling(cell, devices, base, fewest)
    return results


def _all_else(trial: Trial) -> str:
    options = {name: value for name, value in trial.engine_options.items() if name not in NAMES}
    return json.dumps([trial.model, trial.method_label, trial.engine, options], sort_keys=True, default=str)


def _scaling(cell: CellMetrics, devices: int, base: CellMetrics, fewest: int) -> list[Scaling]:
    rates = {load.load: load.output_rate for load in base.loads}
    results = []
    for load in cell.loads:
        if load.load in rates:
            ratio = ratio_of_means(load.output_rate, rates[load.load])
            efficiency = ratio.map(lambda times: times * fewest / devices)
            names = cell.trial.name, cell.trial.model, base.trial.name
            results.append(Scaling(*names, load.load, devices, fewest, ratio, efficiency))
    return results


def ratio_of_means(top: Estimate, bottom: Estimate) -> Estimate:
    """Of two positive means with t intervals of their logarithms, with Welch's degrees of freedom (Biometrika 34,
    1947). Unbounded where one of them is of a single value.
    """
    ratio, count = top.value / bottom.value, min(top.count, bottom.count)
    if count < 2:
        return Estimate(ratio, 0.0, math.inf, count)
    shares = [_relative_error(estimate) ** 2 for estimate in (top, bottom)]
    if sum(shares) == 0:
        return Estimate(ratio, ratio, ratio, count)
    parts = [share**2 / (estimate.count - 1) for share, estimate in zip(shares, (top, bottom), strict=True)]
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, sum(shares) ** 2 / sum(parts))) * math.sqrt(sum(shares))
    return Estimate(ratio, ratio * math.exp(-half), ratio * math.exp(half), count)


def _relative_error(estimate: Estimate) -> float:
    """Standard error of the logarithm, read back from a t interval of it."""
    if estimate.low == estimate.high:
        return 0.0
    return math.log(estimate.high / estimate.value) / float(stats.t.ppf((1 + CONFIDENCE) / 2, estimate.count - 1))
