"""The highest load that each cell takes within the service's limits, and how many requests of a load are good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evals.load.slo_search import bracket
from evals.metrics.slo import is_good, slo_verdict
from evals.metrics.steady_state import steady
from evals.schema.load import Speed
from evals.schema.slo import Search, SearchRange, ServiceLimits
from evals.stats.intervals import Estimate, percentile_interval, product, proportion
from reports.metrics.cell import CellMetrics
from reports.metrics.load import LoadMetrics, load_metrics


@dataclass(frozen=True)
class Waiting:
    """At one load: TTFT and TPOT (seconds) at the limits' percentile (None where answers came at once), the share of
    requests within every limit (with Wilson's interval), and goodput: that share of its requests per second, with what
    is not known of either. All over the requests that count (`evals.metrics.steady_state`).
    """

    load: LoadMetrics
    ttft: Estimate
    tpot: Estimate | None
    good: Estimate
    goodput: Estimate


@dataclass(frozen=True)
class Capacity:
    """One search of one cell. `met` is the highest load whose percentile is surely within the limits (None: not even
    the lowest), `broken` the lowest above it that is surely beyond (None: none of those tried), `unclear` those between
    that so many requests do not tell. `at` is what users wait at `met`.
    """

    name: str
    model: str
    within: SearchRange
    limits: ServiceLimits
    met: float | None
    broken: float | None
    unclear: tuple[float, ...]
    at: Waiting | None

    @property
    def text(self) -> str:
        """In one line, with what is not known."""
        unit = "requests/s" if self.within.over == "rate" else "at once"
        met = f"{self.met:g} {unit} keep the limits" if self.met else f"not even {self.within.lowest:g} {unit} surely"
        broken = "" if self.broken is None else f", {self.broken:g} are too much"
        unclear = f", {' and '.join(f'{level:g}' for level in self.unclear)} not told" if self.unclear else ""
        return met + unclear + broken


@dataclass(frozen=True)
class Served:
    """One load point of one cell, held against the limits."""

    name: str
    limits: ServiceLimits
    waiting: Waiting


def served(cells: Sequence[CellMetrics], limits: ServiceLimits | None) -> list[Served]:
    """Every load point of every cell; nothing where the plan promises nothing."""
    if limits is None:
        return []
    return [Served(cell.trial.name, limits, waiting(speed, limits)) for cell in cells for speed in cell.trial.speed]


def capacities(cells: Sequence[CellMetrics]) -> list[Capacity]:
    """Every search of every cell."""
    return [_capacity(cell, search) for cell in cells for search in cell.trial.searches]


def _capacity(cell: CellMetrics, search: Search) -> Capacity:
    probes = {_level(probe): probe for probe in search.probes}
    verdicts = {level: slo_verdict(speed, search.limits) for level, speed in sorted(probes.items())}
    most, _ = bracket(verdicts)
    broken = min((level for level, verdict in verdicts.items() if verdict == "broken"), default=None)
    unclear = [
        level for level, verdict in verdicts.items() if verdict == "unclear" and (broken is None or level < broken)
    ]
    at = None if most is None else waiting(probes[most], search.limits)
    return Capacity(cell.trial.name, cell.trial.model, search.within, search.limits, most, broken, tuple(unclear), at)


def _level(probe: Speed) -> float:
    return probe.load.concurrency or probe.load.rate_per_second or 0.0


def waiting(speed: Speed, limits: ServiceLimits) -> Waiting:
    """What the users of a load wait, held against the limits."""
    counted, load = steady(speed), load_metrics(speed)
    tpot = [seconds for request in counted.ended if (seconds := request.tpot_seconds) is not None]
    good = proportion(sum(is_good(request, limits) for request in counted.ended), len(counted.ended))
    return Waiting(
        load=load,
        ttft=percentile_interval([request.ttft_seconds for request in counted.started], limits.percentile),
        tpot=percentile_interval(tpot, limits.percentile) if tpot else None,
        good=good,
        goodput=product(good, load.request_rate),
    )
