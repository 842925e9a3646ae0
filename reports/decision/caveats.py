"""What speaks against an answer, and why there is none yet: a sentence each."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evals.stats.intervals import Estimate
from reports.decision.limit_probability import LEAST_KEPT
from reports.decision.ranking import OBJECTIVES, Aim, Candidate, Objective
from reports.decision.wording import fixed, say, significant
from reports.sections.roofline import warnings_of

MOST_NAMES = 12
# two or three words for each kind of caveat
LABELS = {
    "none_shown": "Not shown faster",
    "limits_inconclusive": "Quality in doubt",
    "slo_inconclusive": "Limits in doubt",
    "of_load": "Disturbed load",
    "slow_path": "Slow path",
    "devices": "Per device",
    "close": "Close rivals",
}
Caveat = tuple[str, str]  # a label and a sentence


def not_yet(first: Candidate, aim: Aim) -> str:
    """Why nothing is recommended: what would be first, and what keeps it from that."""
    why = [first.judged.why] if not first.judged.is_good else []
    if first.serves == "inconclusive":
        why.append(say("asked_inconclusive", asks=aim.asks, missing=_missing(first, aim)))
    return say("not_yet", name=first.name, kept=fixed(first.kept_with, 2), least=LEAST_KEPT, why="; ".join(why))


def _missing(candidate: Candidate, aim: Aim) -> str:
    unknown = aim.is_bounded and not candidate.judged.cell.trial.devices
    return say("devices_unknown" if unknown else "more_requests")


def _caveat(kind: str, /, **values: object) -> Caveat:
    return LABELS[kind], say(kind, **values)


def caveats_of(best: Sequence[Candidate], aim: Aim) -> list[Caveat]:
    """Against the first of a ranked list."""
    chosen = best[0]
    notes = []
    if faster := _not_shown(best, OBJECTIVES[aim.objective]):
        notes.append(_caveat("none_shown", name=faster.name))
    if chosen.judged.verdict == "inconclusive":
        probability = fixed(chosen.judged.kept_with, 2)
        notes.append(_caveat("limits_inconclusive", name=chosen.name, why=chosen.judged.why, kept=probability))
    if chosen.serves == "inconclusive":
        probability, missing = fixed(chosen.asked.probability, 2), _missing(chosen, aim)
        notes.append(_caveat("slo_inconclusive", name=chosen.name, asks=aim.asks, missing=missing, kept=probability))
    notes += [
        _caveat("of_load", name=chosen.name, load=load.load.label, warning=warning)
        for load in chosen.loads
        for warning in load.warnings
    ]
    notes += [
        _caveat("slow_path", name=chosen.name, warning=warning) for warning in warnings_of(chosen.judged.cell.trial)
    ]
    if aim.objective == "throughput":
        notes += _on_more_devices(best)
    return notes + _close(best, OBJECTIVES[aim.objective])


def quantized_rivals(best: Sequence[Candidate]) -> list[Candidate]:
    """The quantized cells of a ranked list that are as little in doubt as its first."""
    return [c for c in best if not c.judged.cell.trial.unquantized and c.doubtful == best[0].doubtful]


def _not_shown(best: Sequence[Candidate], objective: Objective) -> Candidate | None:
    """The quantized cell with a better figure than the unquantized one that is first, of those without doubts."""
    sign, chosen = 1 if objective.less else -1, best[0]
    if not chosen.judged.cell.trial.unquantized:
        return None
    return next((c for c in quantized_rivals(best) if sign * c.figure.value < sign * chosen.figure.value), None)


def _close(best: Sequence[Candidate], objective: Objective) -> list[Caveat]:
    """Cells that may be as good, of those without doubts: others are no better for being as fast."""
    chosen = best[0]
    near = [other for other in best[1:] if not any(other.doubtful) and may_be_equal(other.figure, chosen.figure)]
    if not near:
        return []
    shown = [say("close_name", name=c.name, figure=figure_text(c.figure.value, objective)) for c in near[:MOST_NAMES]]
    names = ", ".join(shown)
    if len(near) > MOST_NAMES:
        names = say("more_names", names=names, count=len(near) - MOST_NAMES)
    return [_caveat("close", figure=figure_text(chosen.figure.value, objective), unit=objective.unit, names=names)]


def may_be_equal(first: Estimate, other: Estimate, widened: float = 1.0) -> bool:
    """Whether the 95 % interval of their ratio, so many times as wide, holds 1: MOVER on the logarithms, by the ends
    that face each other (Zou and Donner, Statistics in Medicine 27, 2008). Without its ends: that of a search is a load
    that is too much.
    """
    less, more = sorted((first, other), key=lambda estimate: estimate.value)
    if not (0 < less.value <= less.high < math.inf and 0 < more.low <= more.value):
        return less.high >= more.low
    distance = math.log(more.value / less.value)
    half = widened * math.hypot(math.log(less.high / less.value), math.log(more.value / more.low))
    return distance <= 0 or distance < half


def figure_text(value: float, objective: Objective) -> str:
    return significant(value) if objective.less else fixed(value, 1)


def _on_more_devices(best: Sequence[Candidate]) -> list[Caveat]:
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
        _caveat(
            "devices",
            count=chosen.devices,
            rate=fixed(rates[chosen.key], 1),
            other=most.name,
            others=most.devices,
            most=fixed(rates[most.key], 1),
        )
    ]
