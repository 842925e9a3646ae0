"""What each cell is under the plan's limits, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from evals.stats.intervals import Estimate
from reports.decision.limit_probability import LEAST_KEPT, UNBOUNDED, all_kept, keeps
from reports.decision.wording import fixed, say
from reports.metrics.cell import CellMetrics
from reports.metrics.engine_loss import AgainstReference, EngineLoss
from reports.metrics.needed_memory import needed_memory

Verdict = Literal["meets", "fails", "inconclusive", "baseline", "untrusted"]
BARRED = ("fails", "untrusted")  # such a cell can win nothing and is on no frontier


@dataclass(frozen=True)
class Limits:
    """What a cell must keep of the model's reference: mean accuracy at least, perplexity at most, as ratios; `kl_nats`:
    mean KL divergence of its predictions from its own baseline's, at most.
    `memory_gib`: the memory that it needs, at most, a baseline's too.

    `equivalence_margin`: accuracies that differ by less, relative to the baseline's, count as equal.
    """

    accuracy_recovery: float
    perplexity_ratio: float
    kl_nats: float = 0.5
    equivalence_margin: float = 0.01
    memory_gib: float | None = None


@dataclass(frozen=True)
class Undecided:
    """A figure (`recovery`, `perplexity`, `kl`, `memory`) whose interval holds the limit that it must keep."""

    name: str
    estimate: Estimate
    limit: float

    @property
    def kept_with(self) -> float:
        """With what probability the true figure keeps it."""
        return keeps(self.estimate, self.limit, at_least=self.name == "recovery")


@dataclass(frozen=True)
class Judged:
    """A cell with its verdict under the limits and one sentence why. `cause`: whether that is the cell's own doing, or
    its engine's, which loses accuracy without any quantization. `undecided`: the figures whose intervals hold a limit;
    `kept_with`: the probability that all limits are kept, at least, where those that are met are met for certain.
    """

    cell: CellMetrics
    verdict: Verdict
    why: str
    cause: Literal["cell", "engine"] = "cell"
    undecided: tuple[Undecided, ...] = ()
    kept_with: float = field(kw_only=True)

    @property
    def is_good(self) -> bool:
        """Whether its quality is known to be good enough, or is with LEAST_KEPT: others come after all such cells."""
        return self.kept_with >= LEAST_KEPT


class Check(NamedTuple):
    """What one figure says of a cell."""

    verdict: Verdict
    why: str
    undecided: tuple[Undecided, ...] = ()
    kept_with: float = 0.0


def judge(
    cell: CellMetrics,
    limits: Limits,
    doubts: Sequence[str] = (),
    kl: Estimate | None = None,
    loss: EngineLoss | None = None,
    direct: AgainstReference | None = None,
) -> Judged:
    """untrusted where there are `doubts`; fails if an interval lies wholly beyond a limit, meets if all lie within;
    else inconclusive. `kl` is the cell's divergence from its baseline in nats, where it was read; `loss` what
    its engine loses by itself, None for the engine that is the reference. A baseline is held to its memory and its
    engine's loss, another cell to what it loses against the model's reference: as compared with it directly, else as
    its engine's loss and its own beside its baseline say.
    """
    if doubts:
        return Judged(cell, "untrusted", "; ".join(doubts), kept_with=0.0)
    engine = engine_check(loss, limits) if loss else None
    if cell.is_baseline:
        quality = [engine]
    elif direct is not None:
        quality = [*_against_reference(direct, engine, limits), _check("kl", kl, limits.kl_nats, "at_most")]
    else:
        quality = [engine, *_against_baseline(cell, limits, kl)]
    checks = [check for check in (*quality, _memory(cell, limits.memory_gib)) if check is not None]
    verdicts: tuple[Verdict, ...] = ("fails", "inconclusive")
    for verdict in verdicts:
        reasons = [check for check in checks if check.verdict == verdict]
        if reasons:
            # with this very verdict: what a ruined cell lost is its own
            by_engine = engine is not None and engine[:3] in [check[:3] for check in reasons]
            undecided = tuple(dict.fromkeys(figure for check in reasons for figure in check.undecided))
            probability = all_kept(check.kept_with for check in reasons) if verdict == "inconclusive" else 0.0
            return Judged(
                cell, verdict, _joined(reasons), "engine" if by_engine else "cell", undecided, kept_with=probability
            )
    if cell.is_baseline:
        return Judged(cell, "baseline", say("baseline"), kept_with=1.0)
    return Judged(cell, "meets", _joined(checks), kept_with=1.0)


def _joined(checks: Sequence[Check]) -> str:
    return "; ".join(check.why for check in checks)


def _against_reference(direct: AgainstReference, engine: Check | None, limits: Limits) -> list[Check]:
    """What users get: the cell against the model's reference. Where that is no good, what its engine itself loses is
    said beside it.
    """
    quality = direct.quality
    checks: list[Check | None] = [Check("inconclusive", say("nothing_recovered"))] if quality.nothing_recovered else []
    checks += _quality(quality.recovery, quality.perplexity_ratio, limits, direct.reference)
    known = [check for check in checks if check is not None]
    verdicts = [check.verdict for check in known]
    worst: Verdict = "fails" if "fails" in verdicts else "inconclusive" if "inconclusive" in verdicts else "meets"
    if engine is None or worst == "meets":
        return known
    return [*known, Check(worst, engine.why, kept_with=1.0)]  # it explains, and asks for nothing more


def _against_baseline(cell: CellMetrics, limits: Limits, kl: Estimate | None) -> list[Check | None]:
    """What quantization did: the cell against the unquantized model in the same engine."""
    if cell.accuracy is None and cell.perplexity_ratio is None:
        return [Check("inconclusive", say("not_scored"))]
    recovered: list[Check | None] = [Check("inconclusive", say("nothing_recovered"))] if cell.nothing_recovered else []
    quality = _quality(cell.recovery, cell.perplexity_ratio, limits)
    checks = [*recovered, *quality, _check("kl", kl, limits.kl_nats, "at_most")]
    return checks if any(checks) else [Check("inconclusive", say("no_baseline"))]


def _quality(
    recovery: Estimate | None, perplexity_ratio: Estimate | None, limits: Limits, reference: str = ""
) -> list[Check | None]:
    return [
        _check("recovery", recovery, limits.accuracy_recovery, "at_least", reference),
        _check("perplexity", perplexity_ratio, limits.perplexity_ratio, "at_most", reference),
    ]


def engine_check(loss: EngineLoss, limits: Limits) -> Check | None:
    """None where the engine keeps the limits by itself; what is inconclusive of it no cell in it can better."""
    names = {"engine": loss.engine, "reference": loss.reference}
    if not loss.is_known:
        return Check("inconclusive", say("engine_unknown", **names))
    recovery = None if loss.same_answers else loss.recovery
    checks = [c for c in _quality(recovery, None if loss.same_tokens else loss.perplexity_ratio, limits) if c]
    for verdict, sentence in (("fails", "engine_fails"), ("inconclusive", "engine_undecided")):
        reasons = [check for check in checks if check.verdict == verdict]
        if reasons:
            undecided = tuple(figure for check in reasons for figure in check.undecided)
            probability = all_kept(check.kept_with for check in reasons)
            return Check(reasons[0].verdict, say(sentence, why=_joined(reasons), **names), undecided, probability)
    return None


def point_to_scored(judged: Sequence[Judged]) -> tuple[Judged, ...]:
    """A cell whose engine could not score it names one in which the very same checkpoint was scored."""
    scored = {
        _checkpoint(judgement): judgement.cell.trial.name
        for judgement in judged
        if judgement.cell.accuracy or judgement.cell.perplexity_ratio
    }

    def pointed(judged: Judged) -> Judged:
        there = scored.get(_checkpoint(judged)) if judged.cell.trial.scores == () else None
        return replace(judged, why=say("scored_elsewhere", why=judged.why, name=there)) if there else judged

    return tuple(pointed(judgement) for judgement in judged)


def _checkpoint(judged: Judged) -> object:
    return (judged.cell.trial.checkpoint or {}).get("key", judged.cell.trial.key)


def _check(
    name: str, estimate: Estimate | None, limit: float, side: Literal["at_least", "at_most"], reference: str = ""
) -> Check | None:
    if estimate is None:
        return None
    title = say("against", name=say(name), reference=reference) if reference else say(name)
    value, low = fixed(estimate.value, 3), fixed(estimate.low, 3)
    high = fixed(estimate.high, 3) if estimate.high < UNBOUNDED else say("no_upper_bound")
    text = say(side, name=title, value=value, low=low, high=high, limit=f"{limit:g}")
    at_least = side == "at_least"
    good = estimate.low >= limit if at_least else estimate.high <= limit
    bad = estimate.high < limit if at_least else estimate.low > limit
    if good or bad:
        return Check("meets" if good else "fails", text)
    undecided = Undecided(name, estimate, limit)
    return Check("inconclusive", text, (undecided,), undecided.kept_with)


def _memory(cell: CellMetrics, limit_gib: float | None) -> Check | None:
    if limit_gib is None:
        return None
    needed = needed_memory(cell.trial)
    if needed is None:
        return Check("inconclusive", say("memory_unseen"))
    return _check("memory", needed.gib, limit_gib, "at_most")
