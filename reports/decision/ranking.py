"""Cells that may be recommended, each with the rate at the load that it is for, and by what they are ranked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from evals.metrics.slo import LimitState
from evals.schema.slo import SLO
from evals.stats.intervals import Estimate
from reports.decision.limit_probability import MET, UNKNOWN, LimitCheck, all_kept, all_of, cost_kept, slo_kept
from reports.decision.rules import BARRED, TABLE, likely, place
from reports.decision.verdicts import Judged
from reports.decision.wording import mix_label, say, verdict_text
from reports.metrics.cell import CellMetrics
from reports.metrics.cost import Price
from reports.metrics.figures_of_merit import Mix, latency_seconds, needed_gib, throughput
from reports.metrics.load import LoadMetrics
from reports.metrics.slo_capacity import capacity_within, highest_load


@dataclass(frozen=True)
class Objective:
    """What is to be best, as the table of rules has it. `figure` reads it from a cell, its rate and the SLO; None where
    it is not known. `gain` says how much better another cell is, `maybe` where the interval of
    the ratio holds 1.
    """

    title: str
    unit: str
    digits: str
    better: Literal["higher", "lower"]
    gain: str
    maybe: str
    figure: Callable[[CellMetrics, Estimate, SLO | None], Estimate | None]

    @property
    def less(self) -> bool:
        """Whether less of it is better."""
        return self.better == "lower"

    def gained(self, value: float) -> float:
        """The value, turned so that more is better."""
        return -value if self.less else value


def _of_a_device(cell: CellMetrics, rate: Estimate, _: SLO | None) -> Estimate | None:
    count = cell.trial.devices
    return rate.map(lambda value: value / count) if count else None


def _fidelity(cell: CellMetrics, _: Estimate, __: SLO | None) -> Estimate | None:
    """Of quantized cells: the unquantized model is as close to itself as can be."""
    return None if cell.trial.unquantized else cell.perplexity_ratio


FIGURES: Mapping[str, Callable[[CellMetrics, Estimate, SLO | None], Estimate | None]] = {
    "throughput": lambda _, rate, __: rate,
    "per-device": _of_a_device,
    "latency": lambda cell, _, __: latency_seconds(cell),
    "capacity": lambda cell, _, slo: highest_load(cell, slo),
    "memory": lambda cell, *_: needed_gib(cell),
    "fidelity": _fidelity,
}
OBJECTIVES = {name: Objective(**entry, figure=FIGURES[name]) for name, entry in TABLE["objectives"].items()}


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
        """Whether its quality alone, and whether all that is asked for, is not likely kept: the fewer the better. Only
        a cell without doubts is recommended.
        """
        return not self.judged.is_good, not likely(self.kept_with)

    @property
    def verdict(self) -> str:
        """On its own limits and what the aim asks for, with the probability where an interval holds a limit."""
        is_open = "inconclusive" in (self.judged.verdict, self.serves)
        return verdict_text("inconclusive" if is_open else self.judged.verdict, self.kept_with)

    @property
    def kept_with(self) -> float:
        """The probability that it keeps all limits and what the aim asks for, at least."""
        return all_kept([self.judged.kept_with, self.asked.probability])

    @property
    def at(self) -> str:
        return mix_label([load.load.label for load in self.loads])


def place_of(candidate: Candidate, aim: Aim) -> str:
    """The load that its figure is of; empty where it is of none."""
    if aim.objective == "latency":
        return candidate.judged.cell.calmest.load.label
    return "" if OBJECTIVES[aim.objective].less else candidate.at


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
    """The best first, by the table's order of cells. Of cells that a race showed to be equal all have the best figure.
    Those that do not keep what the aim asks for are left out.
    """
    objective = OBJECTIVES[aim.objective]
    serving = [candidate for candidate in shortlist if candidate.serves != "violated"]
    gains = {candidate.key: objective.gained(candidate.figure.value) for candidate in serving}
    tied = equal_by_race(serving, aim)
    lead = max((gains[key] for key in tied), default=0.0)

    def standing(candidate: Candidate) -> tuple[float, ...]:
        not_good, not_sure = candidate.doubtful
        gain, by_quality = (lead, aim.tied[candidate.key]) if candidate.key in tied else (gains[candidate.key], 0)
        return place("cells", {"good": not not_good, "sure": not not_sure, "gain": gain, "place": by_quality})

    return sorted(serving, key=standing)


def equal_by_race(serving: Sequence[Candidate], aim: Aim) -> set[str]:
    """Keys of those that a race showed to be equal in speed, and that are ranked by what it goes by: the latency of the
    calmest load, or the rate of the busiest.
    """
    return {
        candidate.key
        for candidate in serving
        if candidate.key in aim.tied
        and (aim.objective == "latency" or candidate.loads == (candidate.judged.cell.busiest,))
    }


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
    """The best by the table's order of loads, where one must meet something; else the busiest."""
    if not aim.asks:
        return (cell.busiest,), cell.busiest.output_rate, MET
    pairs = [
        (all_of([slo_kept(speed, aim.slo), cost_kept(load.output_rate, cell.trial.devices, aim.price)]), load)
        for speed, load in zip(cell.trial.speed, cell.loads, strict=True)
    ]

    def standing(pair: tuple[LimitCheck, LoadMetrics]) -> tuple[float, ...]:
        (state, probability), load = pair
        figures = {"possible": state != "violated", "likely": likely(probability), "met": state == "met"}
        return place("loads", {**figures, "rate": load.output_rate.value})

    asked, best = min(pairs, key=standing)
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
