"""Which cell to run: the fastest that keeps the plan's limits, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from evals.statistics import Estimate
from reports.capacity import capacities
from reports.metrics import CellMetrics
from reports.roofline import warnings_of

Verdict = Literal["meets", "fails", "undecided", "baseline", "untrusted"]
BARRED = ("fails", "untrusted")  # such a cell can win nothing and is on no frontier
GIB = 1024**3


@dataclass(frozen=True)
class Limits:
    """What a cell must keep of its baseline: mean accuracy at least, perplexity at most, as ratios; `kl_nats`: mean KL
    divergence of its predictions from the baseline's, at most.

    `equivalence_margin`: accuracies that differ by less, relative to the baseline's, count as equal.
    """

    accuracy_recovery: float
    perplexity_ratio: float
    kl_nats: float = 0.5
    equivalence_margin: float = 0.01


@dataclass(frozen=True)
class Judged:
    """A cell with its verdict under the limits and one sentence why."""

    cell: CellMetrics
    verdict: Verdict
    why: str


@dataclass(frozen=True)
class Answer:
    """The recommendation. `sure` is False where intervals overlap or a limit is undecided; `caveats` say which."""

    chosen: Judged | None
    caveats: tuple[str, ...]
    best: tuple[tuple[str, str, str], ...]


def judge(cell: CellMetrics, limits: Limits, doubts: Sequence[str] = (), kl: Estimate | None = None) -> Judged:
    """untrusted where there are `doubts`; fails if an interval lies wholly beyond a limit, meets if all lie within;
    else undecided. `kl` is the cell's divergence from its baseline in nats, where it was read.
    """
    if doubts:
        return Judged(cell, "untrusted", "; ".join(doubts))
    if cell.is_baseline:
        return Judged(cell, "baseline", "the unquantized baseline")
    checks = [
        _check("accuracy recovered", cell.recovery, limits.accuracy_recovery, at_least=True),
        _check("perplexity ratio", cell.perplexity_ratio, limits.perplexity_ratio, at_least=False),
        _check("KL divergence", kl, limits.kl_nats, at_least=False),
    ]
    known = [one for one in checks if one is not None]
    if cell.accuracy is None and cell.perplexity_ratio is None:
        return Judged(cell, "undecided", "its accuracy was not measured: the engine gives no log-probabilities")
    if not known:
        return Judged(cell, "undecided", "no baseline was measured in this engine to compare with")
    verdicts: tuple[Verdict, ...] = ("fails", "undecided")
    for verdict in verdicts:
        reasons = [why for state, why in known if state == verdict]
        if reasons:
            return Judged(cell, verdict, "; ".join(reasons))
    return Judged(cell, "meets", "; ".join(why for _, why in known))


def point_to_scored(judged: Sequence[Judged]) -> tuple[Judged, ...]:
    """A cell whose engine could not score it names one in which the very same checkpoint was scored."""
    scored = {_checkpoint(one): one.cell.trial.name for one in judged if one.cell.accuracy or one.cell.perplexity_ratio}

    def pointed(one: Judged) -> Judged:
        there = scored.get(_checkpoint(one)) if one.cell.trial.scores == () else None
        return replace(one, why=f"{one.why}; the same checkpoint was scored in '{there}'") if there else one

    return tuple(pointed(one) for one in judged)


def _checkpoint(one: Judged) -> object:
    return (one.cell.trial.checkpoint or {}).get("key", one.cell.trial.key)


def _check(name: str, estimate: Estimate | None, limit: float, *, at_least: bool) -> tuple[Verdict, str] | None:
    if estimate is None:
        return None
    text = f"{name} {estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
    text += f", {'at least' if at_least else 'at most'} {limit:g}"
    good = estimate.low >= limit if at_least else estimate.high <= limit
    bad = estimate.high < limit if at_least else estimate.low > limit
    return ("meets" if good else "fails" if bad else "undecided"), text


def decide(judged: Sequence[Judged]) -> Answer:
    """The highest throughput at the highest concurrency among cells that do not fail a limit.

    A cell that fails or is not trusted can win nothing: not throughput, not memory, not balance. Nor can one whose
    accuracy was not measured, unless it is unquantized.
    """
    allowed = [one for one in judged if one.verdict not in BARRED and one.cell.loads and _is_judged(one)]
    if not allowed:
        return Answer(None, ("no cell was measured that keeps the limits",), ())
    ranked = sorted(allowed, key=lambda one: _rate(one).value, reverse=True)
    return Answer(ranked[0], tuple(_caveats(ranked)), tuple(_best(ranked)))


def _is_judged(one: Judged) -> bool:
    return one.cell.is_baseline or one.cell.accuracy is not None or one.cell.perplexity_ratio is not None


def _rate(one: Judged) -> Estimate:
    return one.cell.busiest.output_rate


def _busiest(one: Judged) -> str:
    return one.cell.busiest.load.label


def _caveats(ranked: Sequence[Judged]) -> list[str]:
    chosen = ranked[0]
    notes = []
    if chosen.verdict == "undecided":
        notes.append(f"whether {chosen.cell.trial.name} keeps the limits is undecided: {chosen.why}; score more items")
    notes += [f"of {chosen.cell.trial.name} at {_busiest(chosen)}: {one}" for one in chosen.cell.busiest.warnings]
    notes += [f"{chosen.cell.trial.name} ran on a slow path: {one}" for one in warnings_of(chosen.cell.trial)]
    notes += _on_more_devices(ranked)
    close = [other for other in ranked[1:] if _rate(other).high >= _rate(chosen).low]
    if close:
        names = ", ".join(f"{other.cell.trial.name} ({_rate(other).value:.1f})" for other in close)
        notes.append(
            f"its {_rate(chosen).value:.1f} output tokens/s cannot be told from those of {names}: intervals overlap"
        )
    return notes


def _on_more_devices(ranked: Sequence[Judged]) -> list[str]:
    """Where cells ran on different numbers of devices, and the chosen one does not make the most of its own."""
    rates = {one.cell.trial.key: _rate(one).value / count for one in ranked if (count := one.cell.trial.devices)}
    chosen = ranked[0].cell.trial
    best = max(ranked, key=lambda one: rates.get(one.cell.trial.key, 0.0)).cell.trial
    if chosen.key not in rates or best.devices == chosen.devices:
        return []
    return [
        f"it ran on {chosen.devices} devices and gave {rates[chosen.key]:.1f} output tokens/s on each; {best.name}, on "
        f"{best.devices}, gave {rates[best.key]:.1f}"
    ]


def _best(ranked: Sequence[Judged]) -> list[tuple[str, str, str]]:
    rows = [("best throughput", ranked[0], f"{_rate(ranked[0]).value:.1f} output tokens/s")]
    with_memory = [one for one in ranked if one.cell.peak_bytes]
    if with_memory:
        least = min(with_memory, key=lambda one: one.cell.peak_bytes or 0)
        rows.append(("best memory", least, f"{(least.cell.peak_bytes or 0) / GIB:.2f} GiB peak"))
    rows += _most_served(ranked)
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
    return _rate(one).value * accuracy.value / (peak / GIB)
