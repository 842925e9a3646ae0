"""What each cell is under the plan's limits, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from evals.stats.intervals import Estimate, exact
from reports.metrics.cell import GIB, CellMetrics

Verdict = Literal["meets", "fails", "undecided", "baseline", "untrusted"]
NOT_COMPARABLE = "accuracy is not comparable: the baseline answers next to nothing right"
BARRED = ("fails", "untrusted")  # such a cell can win nothing and is on no frontier


@dataclass(frozen=True)
class Limits:
    """What a cell must keep of its baseline: mean accuracy at least, perplexity at most, as ratios; `kl_nats`: mean KL
    divergence of its predictions from the baseline's, at most. `memory_gib`: its peak memory at most, a baseline's too.

    `equivalence_margin`: accuracies that differ by less, relative to the baseline's, count as equal.
    """

    accuracy_recovery: float
    perplexity_ratio: float
    kl_nats: float = 0.5
    equivalence_margin: float = 0.01
    memory_gib: float | None = None


@dataclass(frozen=True)
class Judged:
    """A cell with its verdict under the limits and one sentence why."""

    cell: CellMetrics
    verdict: Verdict
    why: str


def judge(cell: CellMetrics, limits: Limits, doubts: Sequence[str] = (), kl: Estimate | None = None) -> Judged:
    """untrusted where there are `doubts`; fails if an interval lies wholly beyond a limit, meets if all lie within;
    else undecided. `kl` is the cell's divergence from its baseline in nats, where it was read.
    """
    if doubts:
        return Judged(cell, "untrusted", "; ".join(doubts))
    memory = _memory(cell, limits.memory_gib)
    if cell.is_baseline:
        if memory is not None and memory[0] != "meets":
            return Judged(cell, *memory)
        return Judged(cell, "baseline", "the unquantized baseline")
    checks: list[tuple[Verdict, str] | None] = [
        memory,
        ("undecided", NOT_COMPARABLE)
        if cell.nothing_recovered
        else _check("accuracy recovered", cell.recovery, limits.accuracy_recovery, at_least=True),
        _check("perplexity ratio", cell.perplexity_ratio, limits.perplexity_ratio, at_least=False),
        _check("KL divergence", kl, limits.kl_nats, at_least=False),
    ]
    known = [check for check in checks if check is not None]
    if cell.accuracy is None and cell.perplexity_ratio is None:
        return Judged(cell, "undecided", "its accuracy was not measured: the engine gives no log-probabilities")
    if not [check for check in checks[1:] if check is not None]:
        return Judged(cell, "undecided", "no baseline was measured in this engine to compare with")
    verdicts: tuple[Verdict, ...] = ("fails", "undecided")
    for verdict in verdicts:
        reasons = [why for state, why in known if state == verdict]
        if reasons:
            return Judged(cell, verdict, "; ".join(reasons))
    return Judged(cell, "meets", "; ".join(why for _, why in known))


def point_to_scored(judged: Sequence[Judged]) -> tuple[Judged, ...]:
    """A cell whose engine could not score it names one in which the very same checkpoint was scored."""
    scored = {
        _checkpoint(judgement): judgement.cell.trial.name
        for judgement in judged
        if judgement.cell.accuracy or judgement.cell.perplexity_ratio
    }

    def pointed(judged: Judged) -> Judged:
        there = scored.get(_checkpoint(judged)) if judged.cell.trial.scores == () else None
        return replace(judged, why=f"{judged.why}; the same checkpoint was scored in '{there}'") if there else judged

    return tuple(pointed(judgement) for judgement in judged)


def _checkpoint(judged: Judged) -> object:
    return (judged.cell.trial.checkpoint or {}).get("key", judged.cell.trial.key)


def _check(name: str, estimate: Estimate | None, limit: float, *, at_least: bool) -> tuple[Verdict, str] | None:
    if estimate is None:
        return None
    high = f"{estimate.high:.3f}]" if math.isfinite(estimate.high) else "no upper bound]"
    text = f"{name} {estimate.value:.3f} [{estimate.low:.3f}, {high}"
    text += f", {'at least' if at_least else 'at most'} {limit:g}"
    good = estimate.low >= limit if at_least else estimate.high <= limit
    bad = estimate.high < limit if at_least else estimate.low > limit
    return ("meets" if good else "fails" if bad else "undecided"), text


def _memory(cell: CellMetrics, limit_gib: float | None) -> tuple[Verdict, str] | None:
    if limit_gib is None:
        return None
    if cell.peak_bytes is None:
        return "undecided", "its memory was not seen"
    return _check("peak memory in GiB", exact(cell.peak_bytes / GIB), limit_gib, at_least=False)
