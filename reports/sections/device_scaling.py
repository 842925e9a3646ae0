"""How much faster a cell is on more devices, and how much of what they would give at best."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from engines.parallelism import NAMES
from evals.schema.load import LoadPoint
from evals.stats.intervals import Estimate
from reports.metrics.cell import CellMetrics
from reports.metrics.ratios import ratio_of_means


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
            options = {name: value for name, value in cell.trial.engine_options.items() if name not in NAMES}
            all_else = [cell.trial.model, cell.trial.method_label, cell.trial.engine, options]
            key = json.dumps(all_else, sort_keys=True, default=str)
            groups.setdefault(key, []).append((devices, cell))
    results = []
    for group in groups.values():
        fewest, base = min(group, key=lambda pair: pair[0])
        for devices, cell in sorted(group, key=lambda pair: pair[0]):
            if devices > fewest:
                results += _scaling(cell, devices, base, fewest)
    return results


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
