"""Which cell to run: the fastest that keeps the plan's limits, how sure that is, and why not another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evals.record import ServiceLimits
from evals.service import Kept, kept
from evals.statistics import Estimate
from reports.capacity import capacities
from reports.judge import BARRED, GIB, Judged
from reports.loads import LoadMetrics
from reports.odds import ratio_of_means
from reports.roofline import warnings_of


@dataclass(frozen=True)
class Other:
    """A cell that was not chosen, and why. `ratio`: its rate ÷ that of the chosen one, where it could have been."""

    name: str
    model: str
    verdict: str
    why: str
    ratio: Estimate | None


@dataclass(frozen=True)
class Answer:
    """The recommendation at the load that it is for. `caveats` say where intervals overlap or a limit is undecided;
    `others` are all other cells, the best one first.
    """

    chosen: Judged | None
    caveats: tuple[str, ...]
    best: tuple[tuple[str, str, str], ...]
    load: LoadMetrics | None = None
    others: tuple[Other, ...] = ()

    @property
    def runner_up(self) -> Other | None:
        """What to run if the chosen one is wrong."""
        return next((one for one in self.others if one.ratio is not None), None)


@dataclass(frozen=True)
class _Candidate:
    """A cell at the load by which it is ranked, with whether what users were promised is kept there."""

    judged: Judged
    load: LoadMetrics
    serves: Kept

    @property
    def name(self) -> str:
        return self.judged.cell.trial.name

    @property
    def rate(self) -> Estimate:
        return self.load.output_rate


def decide(judged: Sequence[Judged], service: ServiceLimits | None = None) -> Answer:
    """The highest throughput among cells that do not fail a limit, at the highest concurrency or, where users were
    promised a `service`, at the load that surely keeps it and gives the most.

    A cell that fails or is not trusted can win nothing: not throughput, not memory, not balance. Nor can one whose
    accuracy was not measured, unless it is unquantized. Where no cell surely keeps the service, one that may is chosen.
    """
    allowed = [one for one in judged if one.verdict not in BARRED and one.cell.loads and _is_judged(one)]
    candidates = [_candidate(one, service) for one in allowed]
    ranked = sorted(
        (one for one in candidates if one.serves != "broken"),
        key=lambda one: (one.serves == "kept", one.rate.value),
        reverse=True,
    )
    if not ranked:
        what = "keeps what users were promised" if candidates else "was measured that keeps the limits"
        return Answer(None, (f"no cell {what}",), (), others=_others(judged, candidates, []))
    others = _others(judged, candidates, ranked)
    return Answer(ranked[0].judged, tuple(_caveats(ranked)), tuple(_best(ranked)), ranked[0].load, others)


def _candidate(one: Judged, service: ServiceLimits | None) -> _Candidate:
    if service is None:
        return _Candidate(one, one.cell.busiest, "kept")
    sides = [kept(speed, service) for speed in one.cell.trial.speed]
    side: Kept = "kept" if "kept" in sides else "unclear" if "unclear" in sides else "broken"
    loads = [load for load, found in zip(one.cell.loads, sides, strict=True) if found == side]
    return _Candidate(one, max(loads, key=lambda load: load.output_rate.value), side)


def _is_judged(one: Judged) -> bool:
    return one.cell.is_baseline or one.cell.accuracy is not None or one.cell.perplexity_ratio is not None


def _others(
    judged: Sequence[Judged], candidates: Sequence[_Candidate], ranked: Sequence[_Candidate]
) -> tuple[Other, ...]:
    found = [_other(one, ranked[0]) for one in ranked[1:]]
    found += [
        _named(one.judged, "fails", "it keeps what users were promised under no load")
        for one in candidates
        if one.serves == "broken"
    ]
    known = {id(one.judged) for one in candidates}
    return tuple(found + [_named(one, one.verdict, one.why) for one in judged if id(one) not in known])


def _named(one: Judged, verdict: str, why: str, ratio: Estimate | None = None) -> Other:
    return Other(one.cell.trial.name, one.cell.trial.model, verdict, why, ratio)


def _other(one: _Candidate, chosen: _Candidate) -> Other:
    ratio = ratio_of_means(one.rate, chosen.rate)
    why = f"{ratio.value:.2f} times the chosen one's output tokens/s, at {one.load.load.label}"
    if one.serves == "unclear":
        why += "; whether it keeps what users were promised is not told"
    return _named(one.judged, one.judged.verdict, f"{why}; {one.judged.why}", ratio)


def _caveats(ranked: Sequence[_Candidate]) -> list[str]:
    chosen = ranked[0]
    notes = []
    if chosen.judged.verdict == "undecided":
        notes.append(f"whether {chosen.name} keeps the limits is undecided: {chosen.judged.why}; score more items")
    if chosen.serves == "unclear":
        notes.append(f"whether {chosen.name} keeps what users were promised is not told; send more requests")
    notes += [f"of {chosen.name} at {chosen.load.load.label}: {one}" for one in chosen.load.warnings]
    notes += [f"{chosen.name} ran on a slow path: {one}" for one in warnings_of(chosen.judged.cell.trial)]
    notes += _on_more_devices(ranked)
    close = [other for other in ranked[1:] if other.rate.high >= chosen.rate.low]
    if close:
        names = ", ".join(f"{other.name} ({other.rate.value:.1f})" for other in close)
        notes.append(
            f"its {chosen.rate.value:.1f} output tokens/s cannot be told from those of {names}: intervals overlap"
        )
    return notes


def _on_more_devices(ranked: Sequence[_Candidate]) -> list[str]:
    """Where cells ran on different numbers of devices, and the chosen one does not make the most of its own."""
    trials = {one.judged.cell.trial.key: one.judged.cell.trial for one in ranked}
    rates = {
        one.judged.cell.trial.key: one.rate.value / count for one in ranked if (count := one.judged.cell.trial.devices)
    }
    chosen = ranked[0].judged.cell.trial
    best = trials[max(trials, key=lambda key: rates.get(key, 0.0))]
    if chosen.key not in rates or best.devices == chosen.devices:
        return []
    return [
        f"it ran on {chosen.devices} devices and gave {rates[chosen.key]:.1f} output tokens/s on each; {best.name}, on "
        f"{best.devices}, gave {rates[best.key]:.1f}"
    ]


def _best(ranked: Sequence[_Candidate]) -> list[tuple[str, str, str]]:
    rows = [("best throughput", ranked[0].judged, f"{ranked[0].rate.value:.1f} output tokens/s")]
    judged = [one.judged for one in ranked]
    with_memory = [one for one in judged if one.cell.peak_bytes]
    if with_memory:
        least = min(with_memory, key=lambda one: one.cell.peak_bytes or 0)
        rows.append(("best memory", least, f"{(least.cell.peak_bytes or 0) / GIB:.2f} GiB peak"))
    rows += _most_served(judged)
    scored = [one for one in with_memory if one.cell.accuracy]
    if scored:
        balanced = max(scored, key=balance)
        rows.append(("best balance", balanced, f"{balance(balanced):.1f} tokens/s × accuracy ÷ GiB"))
    return [(title, one.cell.trial.name, text) for title, one, text in rows]


def _most_served(ranked: Sequence[Judged]) -> list[tuple[str, Judged, str]]:
    """By what the searches ran over: the cell that keeps the service's limits under the highest load."""
    found = [(capacity, one) for one in ranked for capacity in capacities([one.cell]) if capacity.kept is not None]
    rows = []
    for within in dict.fromkeys(capacity.within for capacity, _ in found):
        most, one = max((pair for pair in found if pair[0].within == within), key=lambda pair: pair[0].kept or 0.0)
        rows.append(("best service", one, most.text))
    return rows


def balance(one: Judged) -> float:
    """The field's balance score: throughput × mean accuracy ÷ peak memory in GiB. A column, never the decider."""
    accuracy, peak = one.cell.accuracy, one.cell.peak_bytes
    if accuracy is None or not peak:
        return 0.0
    return one.cell.busiest.output_rate.value * accuracy.value / (peak / GIB)
