"""What output tokens cost at the price of the plan.

A load's cost is price per device-hour × devices ÷ output tokens per second: all of the time is paid for, whatever the
load leaves idle, and prompts are in the price of the output tokens, for a server does both at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.metrics.slo import LimitState, slo_verdict, within
from evals.schema.load import LoadPoint
from evals.schema.slo import SLO
from evals.stats.intervals import Estimate
from reports.metrics.cell import CellMetrics
from reports.metrics.load import LoadMetrics
from reports.metrics.slo_capacity import capacities

MILLION = 1e6
HOUR_SECONDS = 3600.0


@dataclass(frozen=True)
class Price:
    """Of one device for an hour, in a currency's three letters.

    `max_cost_per_million_tokens`: what a million output tokens may cost.
    """

    per_device_hour: float
    currency: str
    max_cost_per_million_tokens: float | None = None


@dataclass(frozen=True)
class Cost:
    """One load of one cell. `per_million` output tokens, prompts included, in the price's currency; its interval is
    that of the output rate.
    """

    load: LoadPoint
    per_million: Estimate


@dataclass(frozen=True)
class CellCosts:
    """One cell on so many `devices`: each of its load points, and the cheapest load, of those at which the SLO
    is met where there are any (None: at none). `unsure`: the loads, searches included, of which the SLO's verdict is
    inconclusive.
    """

    name: str
    model: str
    devices: int
    currency: str
    loads: tuple[Cost, ...]
    cheapest: Cost | None
    within_limits: bool
    unsure: tuple[LoadPoint, ...] = ()

    @property
    def text(self) -> str:
        """In one line."""
        if self.cheapest is None:
            return self.without
        cost, within = self.cheapest, ", within the SLO" if self.within_limits else ""
        value, low, high = (
            f"{figure:.3g}" for figure in (cost.per_million.value, cost.per_million.low, cost.per_million.high)
        )
        return f"{value} [{low}, {high}] {self.currency} per million output tokens at {cost.load.label}{within}"

    @property
    def without(self) -> str:
        """Why no load is the cheapest."""
        if not self.unsure:
            return "no load meets the SLO"
        labels = ", ".join(dict.fromkeys(load.label for load in self.unsure))
        return f"the SLO is inconclusive at {labels}. Measure more requests and repeats"


def costs(cells: Sequence[CellMetrics], price: Mapping[str, Any] | None, limits: SLO | None) -> list[CellCosts]:
    """Every cell whose number of devices is known; nothing where the plan names no price."""
    if not price:
        return []
    paid = Price(**price)
    pairs = [(cell, cell.trial.devices) for cell in cells]
    return [_costs(cell, devices, paid, limits) for cell, devices in pairs if devices is not None]


def _costs(cell: CellMetrics, devices: int, price: Price, limits: SLO | None) -> CellCosts:
    def cost(load: LoadMetrics) -> Cost:
        return Cost(load.load, per_million(load.output_rate, devices, price))

    candidates, unsure = list(cell.loads), []
    if limits is not None:  # those that meet the SLO, and the highest such load of each search
        verdicts = [slo_verdict(speed, limits) for speed in cell.trial.speed]
        points = list(zip(verdicts, cell.loads, strict=True))
        searched = capacities([cell])
        candidates = [load for verdict, load in points if verdict == "met"]
        candidates += [capacity.at.load for capacity in searched if capacity.at]
        unsure = [load.load for verdict, load in points if verdict == "inconclusive"]
        unsure += [capacity.at_once.load.load for capacity in searched if capacity.at_once and not capacity.at]
    return CellCosts(
        name=cell.trial.name,
        model=cell.trial.model,
        devices=devices,
        currency=price.currency,
        loads=tuple(map(cost, cell.loads)),
        cheapest=min(map(cost, candidates), key=lambda cost: cost.per_million.value, default=None),
        within_limits=limits is not None,
        unsure=tuple(unsure),
    )


def affordable(output_rate: Estimate, devices: int | None, price: Price | None) -> LimitState:
    """Whether a million output tokens cost no more than they may."""
    if price is None or price.max_cost_per_million_tokens is None:
        return "met"
    if not devices:
        return "inconclusive"
    return within(per_million(output_rate, devices, price), price.max_cost_per_million_tokens)


def per_million(output_rate: Estimate, devices: int, price: Price) -> Estimate:
    """What a million output tokens cost at that many of them per second."""
    per_second = price.per_device_hour * devices / HOUR_SECONDS
    return output_rate.map(lambda rate: MILLION * per_second / rate if rate > 0 else math.inf)
