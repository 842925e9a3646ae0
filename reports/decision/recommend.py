"""Which cell to run: the fastest that keeps the plan's limits, how sure that is, and why not another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from evals.stats.intervals import Estimate
from reports.decision.ranking import OBJECTIVES, Aim, Candidate, Objective, candidates, ranked
from reports.decision.verdicts import Judged
from reports.metrics.cell import GIB
from reports.metrics.ratios import quotient, ratio_of_means
from reports.metrics.slo_capacity import capacities
from reports.sections.roofline import warnings_of


@dataclass(frozen=True)
class Other:
    """A cell that was not chosen, and why. Where it could have been: its `figure` of what was to be best."""

    name: str
    model: str
    verdict: str
    why: str
    figure: Estimate | None = None


@dataclass(frozen=True)
class Answer:
    """The recommendation, `won` by that figure at that load. `caveats` say where intervals overlap or a limit is
    undecided; `others` are all other cells, the best one first.
    """

    chosen: Judged | None
    caveats: tuple[str, ...]
    best: tuple[tuple[str, str, str], ...]
    aim: Aim
    won: Candidate | None = None
    others: Sequence[Other] = ()

    @property
    def objective(self) -> Objective:
        return OBJECTIVES[self.aim.objective]

    @property
    def runner_up(self) -> Other | None:
        """What to run if the chosen one is wrong."""
        return next((other for other in self.others if other.figure is not None), None)

    @cached_property
    def ratio(self) -> Estimate | None:
        """Of the runner-up's figure to the chosen one's, where it is a rate."""
        figure = self.runner_up.figure if self.runner_up else None
        if figure is None or self.won is None or self.objective.less:
            return None
        return ratio_of_means(figure, self.won.figure)

    @property
    def worst_loss(self) -> float | None:
        """If the runner-up is better after all: the share of its figure that is lost at most, with 95 % confidence."""
        if self.ratio is None or not math.isfinite(self.ratio.high):
            return None
        return max(1 - 1 / self.ratio.high, 0.0)


def decide(judged: Sequence[Judged], aim: Aim | None = None) -> Answer:
    """The cell that is best at what the `aim` asks for, among those that do not fail a limit: by default the highest
    throughput at the highest concurrency.

    A cell that fails or is not trusted can win nothing: not throughput, not memory, not balance. Nor can one whose
    accuracy was not measured, unless it is unquantized. Where no cell surely keeps the service, one that may is chosen.
    """
    aim = aim or Aim()
    shortlist = candidates(judged, aim)
    best = ranked(shortlist, aim)
    if not best:
        reason = f"keeps {aim.asks}" if shortlist else "was measured that keeps the limits"
        return Answer(None, (f"no cell {reason}",), (), aim, others=_others(judged, shortlist, [], aim))
    others = _others(judged, shortlist, best, aim)
    return Answer(best[0].judged, tuple(_caveats(best, aim)), tuple(_best(best)), aim, best[0], others)


def _others(
    judged: Sequence[Judged], shortlist: Sequence[Candidate], best: Sequence[Candidate], aim: Aim
) -> list[Other]:
    others = [_other(candidate, best[0], aim) for candidate in best[1:]]
    broken = [candidate.judged for candidate in shortlist if candidate.serves == "broken"]
    others += [_barred(judgement, "fails", f"it keeps {aim.asks} under {_loads_of(aim)}") for judgement in broken]
    known = {id(candidate.judged) for candidate in shortlist}
    return others + [
        _barred(judgement, judgement.verdict, judgement.why) for judgement in judged if id(judgement) not in known
    ]


def _loads_of(aim: Aim) -> str:
    return "no such mix of loads" if aim.mix else "no load"


def _barred(judged: Judged, verdict: str, why: str) -> Other:
    return Other(judged.cell.trial.name, judged.cell.trial.model, verdict, why)


def _other(candidate: Candidate, chosen: Candidate, aim: Aim) -> Other:
    objective = OBJECTIVES[aim.objective]
    why = f"{quotient(candidate.figure.value, chosen.figure.value):.2f} times the chosen one's {objective.unit}"
    if not objective.less:
        why += f", at {candidate.at}"
    if candidate.serves == "unclear":
        why += f"; whether it keeps {aim.asks} is not told"
    trial = candidate.judged.cell.trial
    return Other(trial.name, trial.model, candidate.judged.verdict, f"{why}; {candidate.judged.why}", candidate.figure)


def _caveats(best: Sequence[Candidate], aim: Aim) -> list[str]:
    chosen, objective = best[0], OBJECTIVES[aim.objective]
    notes = []
    if chosen.judged.verdict == "undecided":
        notes.append(f"whether {chosen.name} keeps the limits is undecided: {chosen.judged.why}; score more items")
    if chosen.serves == "unclear":
        notes.append(f"whether {chosen.name} keeps {aim.asks} is not told; {_missing(chosen, aim)}")
    notes += [f"of {chosen.name} at {load.load.label}: {warning}" for load in chosen.loads for warning in load.warnings]
    notes += [f"{chosen.name} ran on a slow path: {warning}" for warning in warnings_of(chosen.judged.cell.trial)]
    if aim.objective == "throughput":
        notes += _on_more_devices(best)
    close = [other for other in best[1:] if _overlap(other.figure, chosen.figure, objective.less)]
    if close:
        names = ", ".join(f"{other.name} ({figure_text(other.figure.value, objective)})" for other in close)
        notes.append(
            f"its {figure_text(chosen.figure.value, objective)} {objective.unit} cannot be told from those of {names}: "
            "intervals overlap"
        )
    return notes


def _missing(chosen: Candidate, aim: Aim) -> str:
    """What would tell it."""
    if aim.is_bounded and not chosen.judged.cell.trial.devices:
        return "on how many devices it ran is not known"
    return "measure more requests and repeats"


def _overlap(other: Estimate, chosen: Estimate, less: bool) -> bool:
    """Whether the other one may be as good."""
    return other.low <= chosen.high if less else other.high >= chosen.low


def figure_text(value: float, objective: Objective) -> str:
    return f"{value:.3g}" if objective.less else f"{value:.1f}"


def _on_more_devices(best: Sequence[Candidate]) -> list[str]:
    """Where cells ran on different numbers of devices, and the chosen one does not make the most of its own."""
    trials = {candidate.judged.cell.trial.key: candidate.judged.cell.trial for candidate in best}
    rates = {
        candidate.judged.cell.trial.key: candidate.rate.value / count
        for candidate in best
        if (count := candidate.judged.cell.trial.devices)
    }
    chosen = best[0].judged.cell.trial
    most = trials[max(trials, key=lambda key: rates.get(key, 0.0))]
    if chosen.key not in rates or most.devices == chosen.devices:
        return []
    return [
        f"it ran on {chosen.devices} devices and gave {rates[chosen.key]:.1f} output tokens/s on each; {most.name}, on "
        f"{most.devices}, gave {rates[most.key]:.1f}"
    ]


def _best(shortlist: Sequence[Candidate]) -> list[tuple[str, str, str]]:
    fastest = max(shortlist, key=lambda candidate: (candidate.serves == "kept", candidate.rate.value))
    rows = [("best throughput", fastest.judged, f"{fastest.rate.value:.1f} output tokens/s")]
    judged = [candidate.judged for candidate in shortlist]
    with_memory = [judgement for judgement in judged if judgement.cell.peak_bytes]
    if with_memory:
        least = min(with_memory, key=lambda judgement: judgement.cell.peak_bytes or 0)
        rows.append(("best memory", least, f"{(least.cell.peak_bytes or 0) / GIB:.2f} GiB peak"))
    rows += _most_served(judged)
    scored = [judgement for judgement in with_memory if judgement.cell.accuracy]
    if scored:
        balanced = max(scored, key=balance)
        rows.append(("best balance", balanced, f"{balance(balanced):.1f} tokens/s × accuracy ÷ GiB"))
    return [(title, judgement.cell.trial.name, text) for title, judgement, text in rows]


def _most_served(ranked: Sequence[Judged]) -> list[tuple[str, Judged, str]]:
    """By what the searches ran over: the cell that keeps the service's limits under the highest load."""
    pairs = [
        (capacity, judgement)
        for judgement in ranked
        for capacity in capacities([judgement.cell])
        if capacity.met is not None
    ]
    rows = []
    for within in dict.fromkeys(capacity.within for capacity, _ in pairs):
        most, judgement = max((pair for pair in pairs if pair[0].within == within), key=lambda pair: pair[0].met or 0.0)
        rows.append(("best service", judgement, most.text))
    return rows


def balance(judged: Judged) -> float:
    """The field's balance score: throughput × mean accuracy ÷ peak memory in GiB. A column, never the decider."""
    accuracy, peak = judged.cell.accuracy, judged.cell.peak_bytes
    if accuracy is None or not peak:
        return 0.0
    return judged.cell.busiest.output_rate.value * accuracy.value / (peak / GIB)
