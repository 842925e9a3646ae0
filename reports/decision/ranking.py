"""Cells that may be recommended, each with the rate at the load that it is for, and by what they are ranked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from evals.metrics.slo import LimitState
from evals.schema.slo import SLO
from evals.stats.intervals import Estimate
from reports.decision.limit_probability import (
    LEAST_KEPT,
    MET,
    UNKNOWN,
    LimitCheck,
    all_kept,
    all_of,
    cost_kept,
    slo_kept,
)
from reports.decision.verdicts import BARRED, Judged
from reports.decision.wording import say
from reports.metrics.cell import CellMetrics
from reports.metrics.cost import Price
from reports.metrics.figures_of_merit import Mix, latency_seconds, mix_label, needed_gib, throughput
from reports.metrics.load import LoadMetrics
from reports.metrics.slo_capacity import capacity_within, highest_load


@dataclass(frozen=True)
class Objective:
    """What is to be best. `figure` reads it from a cell, its rate and the SLO; None where it is not known. `gain` says
    how much better another cell is.
    """

    title: str
    unit: str
    less: bool
    figure: Callable[[CellMetrics, Estimate, SLO | None], Estimate | None]
    gain: str


def _of_a_device(cell: CellMetrics, rate: Estimate, _: SLO | None) -> Estimate | None:
    count = cell.trial.devices
    return rate.map(lambda value: value / count) if count else None


def _fidelity(cell: CellMetrics, _: Estimate, __: SLO | None) -> Estimate | None:
    """Of quantized cells: the unquantized model is as close to itself as can be."""
    return None if cell.trial.unquantized else cell.perplexity_ratio


FASTER = "is {percent} % faster"
OBJECTIVES = {
    "throughput": Objective("most output tokens/s", "output tokens/s", False, lambda _, rate, __: rate, FASTER),
    "per-device": Objective(
        "most output tokens/s of a device", "output tokens/s of a device", False, _of_a_device, f"{FASTER} on a device"
    ),
    "latency": Objective(
        "least median end-to-end latency at the lowest load",
        "s median end-to-end",
        True,
        lambda cell, _, __: latency_seconds(cell),
        "takes {percent} % less time",
    ),
    "capacity": Objective(
        "highest load within the SLO",
        "users or requests/s within the SLO",
        False,
        lambda cell, _, slo: highest_load(cell, slo),
        "takes {percent} % more load",
    ),
    "memory": Objective(
        "least needed memory", "GiB needed", True, lambda cell, *_: needed_gib(cell), "needs {percent} % less memory"
    ),
    "fidelity": Objective(
        "lowest perplexity ratio of the quantized cells",
        "perplexity ratio",
        True,
        _fidelity,
        "has {percent} % less perplexity",
    ),
}


def fitting_objective(cells: Sequence[CellMetrics], slo: SLO | None) -> str:
    """What can be best under the loads that were measured. An open load's output rate is what was offered, of every
    server that keeps up: where all loads are open, it is the highest load of a search, else the latency.
    """
    loads = [load.load for cell in cells for load in cell.loads]
    if not loads or any(load.concurrency is not None for load in loads):
        return "throughput"
    return "capacity" if any(highest_load(cell, slo) for cell in cells) else "latency"


@dataclass(frozen=True)
class Aim:
    """What is to be best, the SLO, a price with a cost limit, and for which load: the `mix` of
    loads; without one it is the highest concurrency or, where there is an `slo` or a highest cost, the load that
    meets them and gives the most. The capacity is of the load that a search confirmed, whatever else was measured.

    `tied` are cells (keys of trials) that a race showed to be equal in speed, each with its place by quality: of these
    the figure decides nothing, where it is of the load that the race went by.
    """

    objective: str = "throughput"
    slo: SLO | None = None
    mix: Mix = field(default_factory=dict)
    price: Price | None = None
    tied: Mapping[str, int] = field(default_factory=dict)

    @property
    def asks(self) -> str:
        """What a load must meet; empty where there is nothing."""
        parts = [say(name) for asked, name in ((self.slo is not None, "slo"), (self.is_bounded, "cost")) if asked]
        return say("and", first=parts[0], second=parts[1]) if len(parts) > 1 else "".join(parts)

    @property
    def is_bounded(self) -> bool:
        """Whether there is a highest cost."""
        return self.price is not None and self.price.max_cost_per_million_tokens is not None


@dataclass(frozen=True)
class Candidate:
    """A cell at the `loads` that it is ranked by, and whether it meets there what is `asked` for by the aim. `figure`
    is what is to be best.
    """

    judged: Judged
    loads: tuple[LoadMetrics, ...]
    rate: Estimate
    asked: LimitCheck
    figure: Estimate

    @property
    def serves(self) -> LimitState:
        return self.asked.state

    @property
    def name(self) -> str:
        return self.judged.cell.trial.name

    @property
    def key(self) -> str:
        return self.judged.cell.trial.key

    @property
    def doubtful(self) -> tuple[bool, bool]:
        """Whether its quality alone, and whether all that is asked for, is kept with less than LEAST_KEPT: the fewer
        the better. Only a cell without doubts is recommended.
        """
        return not self.judged.is_good, self.kept_with < LEAST_KEPT

    @property
    def kept_with(self) -> float:
        """The probability that it keeps all limits and what the aim asks for, at least."""
        return all_kept([self.judged.kept_with, self.asked.probability])

    @property
    def at(self) -> str:
        return mix_label([load.load for load in self.loads])


def recommendable(judged: Sequence[Judged]) -> list[Judged]:
    """All that fail no limit, are trusted, and were timed. A quantized cell of which nothing tells how good its answers
    are is none.
    """
    scored = [
        judgement
        for judgement in judged
        if judgement.cell.is_baseline
        or judgement.cell.accuracy is not None
        or judgement.cell.perplexity_ratio is not None
    ]
    return [judgement for judgement in scored if judgement.verdict not in BARRED and judgement.cell.loads]


def candidates(judged: Sequence[Judged], aim: Aim) -> list[Candidate]:
    """All that may be recommended and have what the aim is about."""
    return [candidate for judgement in recommendable(judged) if (candidate := _candidate(judgement, aim)) is not None]


def ranked(shortlist: Sequence[Candidate], aim: Aim) -> list[Candidate]:
    """The best first: those that keep the limits with LEAST_KEPT before others; of these, those that keep what the aim
    asks for too before those that may; then by the figure, and tied ones by their quality. Those that do not keep it
    are left out.
    """
    sign = 1.0 if OBJECTIVES[aim.objective].less else -1.0
    serving = [candidate for candidate in shortlist if candidate.serves != "violated"]
    figures = {candidate.key: sign * candidate.figure.value for candidate in serving}
    tied = {candidate.key for candidate in serving if candidate.key in aim.tied and _is_raced(candidate, aim)}
    lead = min((figures[key] for key in tied), default=0.0)

    def place(candidate: Candidate) -> tuple[float, ...]:
        figure = lead if candidate.key in tied else figures[candidate.key]
        return (*candidate.doubtful, figure, aim.tied[candidate.key] if candidate.key in tied else 0)

    return sorted(serving, key=place)


def _is_raced(candidate: Candidate, aim: Aim) -> bool:
    """Whether it is ranked by what a race goes by: the latency of the calmest load, or the rate of the busiest."""
    return aim.objective == "latency" or candidate.loads == (candidate.judged.cell.busiest,)


def _candidate(judged: Judged, aim: Aim) -> Candidate | None:
    if aim.objective == "capacity":
        served = _at_its_highest_load(judged.cell, aim)
    else:
        served = _mixed(judged.cell, aim) if aim.mix else _at_one_load(judged.cell, aim)
    if served is None:
        return None
    loads, rate, asked = served
    figure = OBJECTIVES[aim.objective].figure(judged.cell, rate, aim.slo)
    if figure is None or not math.isfinite(figure.value):
        return None
    return Candidate(judged, loads, rate, asked, figure)


def _at_its_highest_load(cell: CellMetrics, aim: Aim) -> tuple[tuple[LoadMetrics, ...], Estimate, LimitCheck] | None:
    """The load that meets the SLO as a search confirmed it, else the one that met it once, which is inconclusive; and
    whether it meets the cost limit. None where there is none.
    """
    capacity = capacity_within(cell, aim.slo)
    if capacity is None or (load := capacity.load) is None:
        return None
    confirmed = UNKNOWN if capacity.met is None else MET
    return (load,), load.output_rate, all_of([confirmed, cost_kept(load.output_rate, cell.trial.devices, aim.price)])


def _at_one_load(cell: CellMetrics, aim: Aim) -> tuple[tuple[LoadMetrics, ...], Estimate, LimitCheck]:
    """The load that gives the most, of those that meet what is asked for; else of those that do with LEAST_KEPT; else
    of those that may.
    """
    if not aim.asks:
        return (cell.busiest,), cell.busiest.output_rate, MET
    pairs = [
        (all_of([slo_kept(speed, aim.slo), cost_kept(load.output_rate, cell.trial.devices, aim.price)]), load)
        for speed, load in zip(cell.trial.speed, cell.loads, strict=True)
    ]

    def place(pair: tuple[LimitCheck, LoadMetrics]) -> tuple[bool, bool, bool, float]:
        (state, probability), load = pair
        return state != "violated", probability >= LEAST_KEPT, state == "met", load.output_rate.value

    asked, best = max(pairs, key=place)
    return (best,), best.output_rate, asked


def _mixed(cell: CellMetrics, aim: Aim) -> tuple[tuple[LoadMetrics, ...], Estimate, LimitCheck] | None:
    """None where a load of the mix was not measured. The SLO must be met under all of them; the cost
    is that of the mix.
    """
    rate = throughput(cell, aim.mix)
    if rate is None:
        return None
    pairs = [pair for pair in zip(cell.trial.speed, cell.loads, strict=True) if pair[1].load in aim.mix]
    sides = [*(slo_kept(speed, aim.slo) for speed, _ in pairs), cost_kept(rate, cell.trial.devices, aim.price)]
    return tuple(load for _, load in pairs), rate, all_of(sides)
