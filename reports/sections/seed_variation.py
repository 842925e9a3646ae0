"""A method over several draws of its calibration text: how much of its result is luck."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from reports.metrics.cell import CellMetrics
from reports.metrics.divergence import Distance


@dataclass(frozen=True)
class Spread:
    """Values of one figure over seeds, in the order of `seeds`."""

    name: str
    engine: str
    figure: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return sum(self.values) / len(self.values)


def spreads(cells: Sequence[CellMetrics], distances: Sequence[Distance]) -> list[Spread]:
    """Mean accuracy, perplexity ratio and KL of every method that was calibrated with two seeds or more."""
    groups: dict[str, list[CellMetrics]] = {}
    for cell in cells:
        spec = (cell.trial.checkpoint or {}).get("spec", {})
        if spec.get("calibration"):
            described = {**spec, "calibration": {**spec["calibration"], "seed": None}}
            groups.setdefault(json.dumps([cell.trial.server, described], sort_keys=True), []).append(cell)
    return [spread for group in groups.values() if len(group) > 1 for spread in _of(group, distances)]


def _of(group: Sequence[CellMetrics], distances: Sequence[Distance]) -> list[Spread]:
    kl = {distance.key: distance.kl_nats for distance in distances if distance.kind == "quantization"}
    figures = {
        "mean accuracy": [cell.accuracy for cell in group],
        "perplexity ratio": [cell.perplexity_ratio for cell in group],
        "KL to the baseline, nats": [kl.get(cell.trial.key) for cell in group],
    }
    trial = group[0].trial
    seeds = tuple(int((cell.trial.checkpoint or {})["spec"]["calibration"]["seed"]) for cell in group)
    name = trial.method_label.removesuffix(f" seed {seeds[0]}")
    group_spreads = []
    for figure, estimates in figures.items():
        values = tuple(estimate.value for estimate in estimates if estimate is not None)
        if len(values) == len(group):
            group_spreads.append(Spread(name, trial.served_by, figure, seeds, values))
    return group_spreads
