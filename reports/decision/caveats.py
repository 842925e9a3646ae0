"""What speaks against an answer, and why there is none yet: a sentence each, by the table of rules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from evals.stats.intervals import Estimate
from reports.decision.ranking import OBJECTIVES, Aim, Candidate, Objective
from reports.decision.rules import CAVEATS, THRESHOLDS, holds
from reports.decision.wording import fill, fixed, say, significant
from reports.sections.roofline import warnings_of

Caveat = tuple[str, str]  # a label and a sentence


def not_yet(first: Candidate, aim: Aim) -> str:
    """Why nothing is recommended: what would be first, and what keeps it from that."""
    why = [first.judged.why] if not first.judged.is_good else []
    if first.serves == "inconclusive":
        why.append(say("asked_inconclusive", asks=aim.asks, missing=_missing(first, aim)))
    probability, least = fixed(first.kept_with, "probability"), f"{THRESHOLDS['least_kept']:g}"
    return say("not_yet", name=first.name, probability=probability, least=least, why="; ".join(why))


def _missing(candidate: Candidate, aim: Aim) -> str:
    unknown = aim.is_bounded and not candidate.judged.cell.trial.devices
    return say("devices_unknown" if unknown else "more_requests")


def caveats_of(best: Sequence[Candidate], aim: Aim) -> list[Caveat]:
    """Against the first of a ranked list."""
    chosen = best[0]
    figures = _figures(best, aim)
    entries: dict[str, Sequence[Mapping[str, Any]]] = {
        "": [{}],
        "load_warnings": [
            {"load": load.load.label, "warning": warning} for load in chosen.loads for warning in load.warnings
        ],
        "slow_paths": [{"warning": warning} for warning in warnings_of(chosen.judged.cell.trial)],
    }
    return [
        (rule.label, fill(rule.words, {**figures, **entry}))
        for rule in CAVEATS
        if holds(rule.when, figures)
        for entry in entries[rule.each]
    ]


def _figures(best: Sequence[Candidate], aim: Aim) -> Mapping[str, Any]:
    """All that the table's conditions and words read: numbers, and texts as they are shown."""
    chosen, objective = best[0], OBJECTIVES[aim.objective]
    ahead = [
        c for c in quantized_rivals(best) if objective.gained(c.figure.value) > objective.gained(chosen.figure.value)
    ]
    near = [other for other in best[1:] if not any(other.doubtful) and may_be_equal(other.figure, chosen.figure)]
    return {
        "name": chosen.name,
        "unquantized": chosen.judged.cell.trial.unquantized,
        "rivals_ahead": len(ahead),
        "rival": ahead[0].name if ahead else "",
        "quality_inconclusive": chosen.judged.verdict == "inconclusive",
        "quality_probability": fixed(chosen.judged.kept_with, "probability"),
        "why": chosen.judged.why,
        "asked_inconclusive": chosen.serves == "inconclusive",
        "asked_probability": fixed(chosen.asked.probability, "probability"),
        "asks": aim.asks,
        "missing": _missing(chosen, aim),
        "by_throughput": aim.objective == "throughput",
        **_on_devices(best),
        "close_rivals": len(near),
        "names": _names(near, objective),
        "figure": figure_text(chosen.figure.value, objective),
        "unit": objective.unit,
    }


def quantized_rivals(best: Sequence[Candidate]) -> list[Candidate]:
    """The quantized cells of a ranked list that are as little in doubt as its first."""
    return [c for c in best if not c.judged.cell.trial.unquantized and c.doubtful == best[0].doubtful]


def _names(near: Sequence[Candidate], objective: Objective) -> str:
    """With their figures, of no more than the table has room for."""
    most = int(THRESHOLDS["most_names"])
    shown = [say("close_name", name=c.name, figure=figure_text(c.figure.value, objective)) for c in near[:most]]
    names = ", ".join(shown)
    if len(near) <= most:
        return names
    return say("more_names", names=names, count=len(near) - most)


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
    return significant(value) if objective.digits == "significant" else fixed(value, objective.digits)


def _on_devices(best: Sequence[Candidate]) -> Mapping[str, Any]:
    """On how many devices the first one ran and what each gave, beside the cell that makes the most of its own; 0 where
    that is not known.
    """
    trials = [candidate.judged.cell.trial for candidate in best]
    rates = [c.rate.value / trial.devices if trial.devices else 0.0 for c, trial in zip(best, trials, strict=True)]
    most = max(range(len(best)), key=rates.__getitem__)
    return {
        "devices": trials[0].devices or 0,
        "device_rate": fixed(rates[0], "rate"),
        "other": trials[most].name,
        "most_devices": trials[most].devices or 0,
        "most_rate": fixed(rates[most], "rate"),
    }
