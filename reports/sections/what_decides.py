"""What would decide whether a cell keeps a limit that its interval holds: how many more items, and how long they take.

An interval's half-width goes with 1 ÷ √items. If the figure stays where it is, the interval of `times` as many items
leaves the limit in POWER of all samples: times = ((1 + z ÷ 1.96) × half-width ÷ distance to the limit)², with z the
normal quantile of POWER (the usual sample size of a one-sided bound; Chow et al., Sample Size Calculations in Clinical
Research, 2018, chapter 3). Where the true figure is another, it takes more or fewer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

from evals.schema.trial import Trial
from evals.stats.intervals import CONFIDENCE, Estimate
from reports.decision.verdicts import Judged, Undecided
from reports.decision.wording import say

POWER = 0.8
MOST_TIMES = 100.0
QUALITY = ("recovery", "perplexity", "kl")


@dataclass(frozen=True)
class Deciding:
    """One limit of one cell. `items` of `unit` were scored; `times` as many would decide, None where more of them do
    not (`why`). `seconds` is what the rest takes, in this cell and its baseline, at the pace of what was scored.
    """

    name: str
    model: str
    figure: str
    estimate: Estimate
    limit: float
    items: int
    unit: str
    times: float | None
    seconds: float | None
    why: str = ""


def deciding(judged: Sequence[Judged]) -> list[Deciding]:
    """Of every cell whose quality is inconclusive, by the limits that its intervals hold."""
    return [
        _deciding(judgement, figure) for judgement in judged for figure in judgement.undecided if figure.name in QUALITY
    ]


def _deciding(judged: Judged, undecided: Undecided) -> Deciding:
    trial, baseline = judged.cell.trial, judged.cell.reference
    items, unit = _items(trial, undecided.name)
    times, why = times_to_decide(undecided.estimate, undecided.limit)
    spent = sum(known.seconds.get("accuracy", 0.0) for known in (trial, baseline) if known is not None)
    return Deciding(
        name=trial.name,
        model=trial.model,
        figure=say(undecided.name),
        estimate=undecided.estimate,
        limit=undecided.limit,
        items=items,
        unit=unit,
        times=times,
        seconds=(times - 1) * spent if times is not None and spent else None,
        why=why,
    )


def times_to_decide(estimate: Estimate, limit: float) -> tuple[float | None, str]:
    """(times as many items, ""), or (None, why more of the same do not decide)."""
    away = abs(estimate.value - limit)
    half = estimate.value - estimate.low if estimate.value > limit else estimate.high - estimate.value
    if not math.isfinite(half):
        return None, "its interval has no bound on that side: what was read is a part of what the figure is made of"
    quantile = float(special.ndtri(POWER)) / float(special.ndtri((1 + CONFIDENCE) / 2))
    times = ((1 + quantile) * half / away) ** 2 if away > 0 else math.inf
    if times > MOST_TIMES:
        return None, f"it lies so near the limit that over {MOST_TIMES:g} times as many would be needed"
    return max(times, 1.0), ""


def _items(trial: Trial, figure: str) -> tuple[int, str]:
    """How many were scored, of what."""
    if figure == "kl":
        return sum(len(predictions.logprobs) for predictions in trial.predictions if not predictions.repeat), "prompts"
    if figure == "perplexity" and trial.perplexities:
        windows = [window for perplexity in trial.perplexities for window in perplexity.tokens]
        return sum(map(len, windows)), "tokens of text"
    return sum(len(score.values) for score in trial.scores), "questions"
