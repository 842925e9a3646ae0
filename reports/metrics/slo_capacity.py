"""The highest load that each cell takes within the SLO, and how many requests of a load are good."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evals.load.slo_search import bracket, capacity_of, confirmation, level_of
from evals.metrics.slo import is_good, slo_verdict
from evals.metrics.steady_state import steady, tpot, ttft
from evals.schema.load import Speed
from evals.schema.slo import SLO, Search, SearchRange
from evals.stats.intervals import Estimate, effective_count, percentile_interval, product, wilson
from reports.metrics.cell import CellMetrics
from reports.metrics.load import LoadMetrics, load_metrics


@dataclass(frozen=True)
class Waiting:
    """At one load: TTFT and TPOT (seconds) at the limits' percentile (None where answers came at once), the share of
    requests within every limit (with Wilson's interval of
    their effective count), and goodput: that share of its requests per second, with what
    is not known of either. All over the requests that count (`evals.metrics.steady_state`).
    """

    load: LoadMetrics
    ttft: Estimate
    tpot: Estimate | None
    good: Estimate
    goodput: Estimate


@dataclass(frozen=True)
class Capacity:
    """One search of one cell. `met` is the highest load whose percentile met the SLO (95 % CI) and did so again in a
    fresh session (None: none did), `met_once` the highest that met it in the search (None: not even the lowest),
    `violated` the lowest that violates it (None: none of those tried), `inconclusive` those that so many requests do
    not tell. `too_much` is the lowest above `met` that violated the SLO, in the search or in the fresh session
    (infinite: none did). `confirmed` tells whether any was tried in a fresh session. `at` is what users wait at `met`,
    there, `at_once` what they waited at `met_once` in the search. A server that is `attached` has no fresh session.
    """

    name: str
    model: str
    within: SearchRange
    limits: SLO
    met: float | None
    met_once: float | None
    violated: float | None
    inconclusive: tuple[float, ...]
    too_much: float
    confirmed: bool
    at: Waiting | None
    at_once: Waiting | None
    attached: bool = False

    @property
    def figure(self) -> Estimate | None:
        """From `met`, which is known, to the lowest load that is known to be too much: what is inconclusive between
        them is no bound. Without a confirmed load it is what met the SLO once, and may be nothing.
        """
        if self.met is not None and self.at is not None:
            return Estimate(self.met, self.met, self.too_much, self.at.load.output_rate.count)
        if self.met_once is not None and self.at_once is not None:
            return Estimate(self.met_once, 0.0, self.too_much, self.at_once.load.output_rate.count)
        return None

    @property
    def load(self) -> LoadMetrics | None:
        """At which `figure` was measured."""
        side = self.at or self.at_once
        return side.load if side else None

    @property
    def text(self) -> str:
        """In one line, with what is not known."""
        at = "{:g} requests/s" if self.within.over == "rate" else "concurrency {:g}"
        lowest = f"{at.format(self.within.lowest)} not shown to meet the SLO"
        met = f"{at.format(self.met)} meets the SLO" if self.met else lowest
        if self.met_once is not None and self.met_once != self.met:
            ours = "not on a fresh server" if self.confirmed else "not tried on a fresh server"
            fresh = "of a server that cannot be restarted here" if self.attached else ours
            once = f"{at.format(self.met_once)} inconclusive: met in one session, {fresh}"
            met = f"{met}, {once}" if self.met else once
        violated = "" if self.violated is None else f", {self.violated:g} violates it"
        inconclusive = (
            f", {' and '.join(f'{level:g}' for level in self.inconclusive)} inconclusive" if self.inconclusive else ""
        )
        return met + inconclusive + violated


@dataclass(frozen=True)
class Served:
    """One load point of one cell, held against the limits."""

    name: str
    limits: SLO
    waiting: Waiting


def served(cells: Sequence[CellMetrics], limits: SLO | None) -> list[Served]:
    """Every load point of every cell; nothing where the plan has no SLO."""
    if limits is None:
        return []
    return [Served(cell.trial.name, limits, waiting(speed, limits)) for cell in cells for speed in cell.trial.speed]


def capacities(cells: Sequence[CellMetrics]) -> list[Capacity]:
    """Every search of every cell."""
    return [_capacity(cell, search) for cell in cells for search in cell.trial.searches]


def first_capacity(cell: CellMetrics) -> Capacity | None:
    """Of the cell's first search; None where no load met its SLO."""
    capacity = next(iter(capacities([cell])), None)
    return capacity if capacity and capacity.figure else None


def capacity_within(cell: CellMetrics, slo: SLO | None) -> Capacity | None:
    """The same; None where it was searched within other limits."""
    capacity = first_capacity(cell)
    return capacity if capacity and capacity.limits == slo else None


def highest_load(cell: CellMetrics, slo: SLO | None) -> Estimate | None:
    """That meets the SLO; None where none did, not even once."""
    capacity = capacity_within(cell, slo)
    return capacity.figure if capacity else None


def _capacity(cell: CellMetrics, search: Search) -> Capacity:
    probes = {level_of(probe): probe for probe in search.probes}
    verdicts = {level: slo_verdict(speed, search.limits) for level, speed in sorted(probes.items())}
    most, _ = bracket(verdicts)
    attached = bool(cell.trial.provenance.get("attached"))
    confirmed = None if attached else capacity_of(search)  # older programs took the same session for a fresh one
    violated = min((level for level, verdict in verdicts.items() if verdict == "violated"), default=None)
    inconclusive = [
        level
        for level, verdict in verdicts.items()
        if verdict == "inconclusive" and (violated is None or level < violated)
    ]
    met = None if confirmed is None else level_of(confirmed)
    too_much = [level for level, verdict in verdicts.items() if verdict == "violated"]
    too_much += [level_of(speed) for speed in search.confirmed if confirmation(speed, search.limits) == "violated"]
    return Capacity(
        cell.trial.name,
        cell.trial.model,
        search.within,
        search.limits,
        met,
        most,
        violated,
        tuple(inconclusive),
        min((level for level in too_much if level > (met or 0)), default=math.inf),
        bool(search.confirmed),
        None if confirmed is None else waiting(confirmed, search.limits),
        None if most is None else waiting(probes[most], search.limits),
        attached,
    )


def waiting(speed: Speed, limits: SLO) -> Waiting:
    """What the users of a load wait, held against the limits."""
    counted, load = steady(speed), load_metrics(speed)
    later, within_limits = counted.of_ended(tpot), counted.of_ended(lambda request: (is_good(request, limits),))
    share = float(within_limits.values.mean())
    good = wilson(share, effective_count(within_limits.values > 0, within_limits, share))
    return Waiting(
        load=load,
        ttft=percentile_interval(counted.of_started(ttft), limits.percentile),
        tpot=percentile_interval(later, limits.percentile) if len(later.values) else None,
        good=good,
        goodput=product(good, load.request_rate),
    )
