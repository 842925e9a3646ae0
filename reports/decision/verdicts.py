"""What each cell is under the plan's limits, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from evals.stats.intervals import Estimate
from reports.decision.limit_probability import UNBOUNDED, all_kept, keeps
from reports.decision.rules import LIMITS, TABLE, Limit, likely, verdict_of
from reports.decision.wording import fill, fixed, say
from reports.metrics.cell import CellMetrics
from reports.metrics.engine_loss import AgainstReference, EngineLoss
from reports.metrics.needed_memory import needed_memory

Verdict = Literal["meets", "fails", "inconclusive", "baseline", "untrusted"]
WORST_FIRST: Sequence[Verdict] = TABLE["verdicts"]["worst_first"]
Figures = Mapping[str, Estimate | None]  # by the keys of the limits that they are held to


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
        return keeps(self.estimate, self.limit, at_least=LIMITS[self.name].direction == "at_least")


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
        """Whether its quality is good enough, likely at least: others come after all such cells."""
        return likely(self.kept_with)


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
        quality = [*_against_reference(direct, engine, limits), *_checks("baseline", {"kl": kl}, limits)]
    else:
        quality = [engine, *_against_baseline(cell, limits, kl)]
    needed = needed_memory(cell.trial)
    alone = _checks("nothing", {"memory": needed.gib if needed else None}, limits)
    checks = [check for check in (*quality, *alone) if check is not None]
    for verdict in WORST_FIRST:
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
    checks = [Check("inconclusive", say("nothing_recovered"))] if quality.nothing_recovered else []
    figures = {"recovery": quality.recovery, "perplexity": quality.perplexity_ratio}
    checks += _checks("reference", figures, limits, direct.reference)
    worst = next((v for v in WORST_FIRST if any(check.verdict == v for check in checks)), None)
    if engine is None or worst is None:
        return checks
    return [*checks, Check(worst, engine.why, kept_with=1.0)]  # it explains, and asks for nothing more


def _against_baseline(cell: CellMetrics, limits: Limits, kl: Estimate | None) -> list[Check]:
    """What quantization did: the cell against the unquantized model in the same engine."""
    if cell.accuracy is None and cell.perplexity_ratio is None:
        return [Check("inconclusive", say("not_scored"))]
    checks = [Check("inconclusive", say("nothing_recovered"))] if cell.nothing_recovered else []
    checks += _checks("reference", {"recovery": cell.recovery, "perplexity": cell.perplexity_ratio}, limits)
    checks += _checks("baseline", {"kl": kl}, limits)
    return checks or [Check("inconclusive", say("no_baseline"))]


def engine_check(loss: EngineLoss, limits: Limits) -> Check | None:
    """None where the engine keeps the limits by itself; what is inconclusive of it no cell in it can better."""
    names = {"engine": loss.engine, "reference": loss.reference}
    if not loss.is_known:
        return Check("inconclusive", say("engine_unknown", **names))
    figures = {
        "recovery": None if loss.same_answers else loss.recovery,
        "perplexity": None if loss.same_tokens else loss.perplexity_ratio,
    }
    checks = _checks("reference", figures, limits)
    for verdict in WORST_FIRST:
        reasons = [check for check in checks if check.verdict == verdict]
        if reasons:
            undecided = tuple(figure for check in reasons for figure in check.undecided)
            probability = all_kept(check.kept_with for check in reasons)
            return Check(verdict, say(f"engine_{verdict}", why=_joined(reasons), **names), undecided, probability)
    return None


def _checks(against: str, figures: Figures, limits: Limits, reference: str = "") -> list[Check]:
    """By the table's limits of a cell that are held against the same, in its order; none of a limit that is not set."""
    rules = [rule for rule in LIMITS.values() if rule.of == "cell" and rule.against == against]
    pairs = [(rule, getattr(limits, rule.field)) for rule in rules]
    checks = [_check(rule, figures[rule.key], limit, reference) for rule, limit in pairs if limit is not None]
    return [check for check in checks if check is not None]


def _check(rule: Limit, estimate: Estimate | None, limit: float, reference: str) -> Check | None:
    if estimate is None:
        return Check("inconclusive", say(rule.unknown)) if rule.unknown else None
    words = {
        "name": say("against", name=rule.name, reference=reference) if reference else rule.name,
        "value": fixed(estimate.value, "check"),
        "low": fixed(estimate.low, "check"),
        "high": fixed(estimate.high, "check") if estimate.high < UNBOUNDED else say("no_upper_bound"),
        "limit": f"{limit:g}",
    }
    text, verdict = (
        fill(TABLE["directions"][rule.direction]["words"], words),
        verdict_of(rule.direction, estimate, limit),
    )
    if verdict != "inconclusive":
        return Check(verdict, text)
    undecided = Undecided(rule.key, estimate, limit)
    return Check(verdict, text, (undecided,), undecided.kept_with)


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
