"""With what probability a figure keeps a limit that its interval holds, and several of them all keep theirs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from scipy import special

from evals.metrics.slo import LimitState, slo_verdict, ttft_and_tpot, worst
from evals.schema.load import Speed
from evals.schema.slo import SLO
from evals.stats.intervals import CONFIDENCE, Estimate, percentile_interval
from reports.decision.rules import LIMITS, THRESHOLDS, verdict_of
from reports.metrics.cost import Price, affordable, per_million

UNBOUNDED = THRESHOLDS["unbounded"]


def log_or_least(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def facing(estimate: Estimate, limit: float) -> float:
    """The end of the interval on the side of the limit."""
    return estimate.low if estimate.value > limit else estimate.high


def keeps(estimate: Estimate, limit: float, *, at_least: bool) -> float:
    """That the true figure is at least or at most the limit, as if its logarithm were normal about the estimate with
    the half-width of the interval towards the limit; ½ where that has no bound.
    """
    value, bound, goal = (log_or_least(number) for number in (estimate.value, facing(estimate, limit), limit))
    half = abs(value - bound) if math.isfinite(value) else math.inf
    if not 0 < half < UNBOUNDED or facing(estimate, limit) > UNBOUNDED:
        return 0.5
    above = float(special.ndtr((value - goal) / half * special.ndtri((1 + CONFIDENCE) / 2)))
    return above if at_least else 1 - above


def all_kept(probabilities: Iterable[float]) -> float:
    """That all limits are kept, at least, however their figures depend on each other (Bonferroni's inequality)."""
    return max(0.0, 1 - sum(1 - probability for probability in probabilities))


class LimitCheck(NamedTuple):
    """Whether limits are kept, and with what probability at least: 1 where they are met, 0 where one is violated."""

    state: LimitState
    probability: float


MET = LimitCheck("met", 1.0)
UNKNOWN = LimitCheck("inconclusive", 0.0)


def all_of(sides: Sequence[LimitCheck]) -> LimitCheck:
    return LimitCheck(worst([side.state for side in sides]), all_kept(side.probability for side in sides))


def check_limit(key: str, estimate: Estimate, limit: float) -> LimitCheck:
    """One of the table's limits, of a load or of a rate."""
    direction = LIMITS[key].direction
    verdict = verdict_of(direction, estimate, limit)
    if verdict == "inconclusive":
        return LimitCheck(verdict, keeps(estimate, limit, at_least=direction == "at_least"))
    return MET if verdict == "meets" else LimitCheck("violated", 0.0)


def slo_kept(speed: Speed, slo: SLO | None) -> LimitCheck:
    """By the same intervals as `slo_verdict`: of the percentile over all requests, with visits as units."""
    if slo is None or (state := slo_verdict(speed, slo)) == "met":
        return MET
    if state == "violated":
        return LimitCheck(state, 0.0)
    limits = zip(("ttft", "tpot"), ttft_and_tpot(speed), (slo.ttft_seconds, slo.tpot_seconds), strict=True)
    return all_of(
        [
            UNKNOWN if waits is None else check_limit(key, percentile_interval(waits, slo.percentile), most)
            for key, waits, most in limits
            if most is not None
        ]
    )


def cost_kept(output_rate: Estimate, devices: int | None, price: Price | None) -> LimitCheck:
    if affordable(output_rate, devices, price) == "met":
        return MET
    if not devices or price is None or price.max_cost_per_million_tokens is None:
        return UNKNOWN
    return check_limit("cost", per_million(output_rate, devices, price), price.max_cost_per_million_tokens)
