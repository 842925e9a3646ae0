"""Whether a load meets an SLO: limits on TTFT and TPOT at a percentile of the requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from evals.metrics.saturation import keeps_up
from evals.metrics.steady_state import steady, tpot, ttft
from evals.schema.load import Request, Speed
from evals.schema.slo import SLO
from evals.stats.intervals import CONFIDENCE, Clustered, Estimate, percentile_interval

LimitState = Literal["met", "violated", "inconclusive"]


def slo_verdict(speed: Speed, limits: SLO, confidence: float = CONFIDENCE) -> LimitState:
    """By the interval of the percentile over the requests of all repeats that count (`percentile_interval`,
    `evals.metrics.steady_state`): "met" where it lies within every limit, "violated" where it lies beyond one or the
    server does not keep up, else "inconclusive".
    """
    sides: list[LimitState] = []
    for waits, most in zip(ttft_and_tpot(speed), (limits.ttft_seconds, limits.tpot_seconds), strict=True):
        if most is not None and waits is None:
            sides.append("inconclusive")
        elif most is not None and waits is not None:
            sides.append(within(percentile_interval(waits, limits.percentile, confidence), most))
    return worst(sides) if keeps_up(speed) else "violated"


def ttft_and_tpot(speed: Speed) -> tuple[Clustered | None, Clustered | None]:
    """What of each is judged; None where it is not known of every request, or of none.

    An answer of one token has no TPOT by definition (MLPerf), and is not judged. That of several tokens that came at
    once is not known.
    """
    counted = steady(speed)
    first, later = counted.of_started(ttft), counted.of_ended(tpot)
    defined = sum(request.output_tokens > 1 for request in counted.ended)
    return first, later if 0 < defined == len(later.values) else None


def within(estimate: Estimate, most: float) -> LimitState:
    """Whether a figure is at most so large (95 % CI)."""
    return "met" if estimate.high <= most else "violated" if estimate.low > most else "inconclusive"


def worst(sides: Sequence[LimitState]) -> LimitState:
    """Of limits that must all be kept."""
    return "violated" if "violated" in sides else "inconclusive" if "inconclusive" in sides else "met"


def is_good(request: Request, limits: SLO) -> bool:
    """Whether this one request waited no longer than any limit: what goodput counts. What is not known is not good. An
    answer of one token, which a trace may hold, has no TPOT to wait for.
    """
    tpot_limit = limits.tpot_seconds if request.output_tokens > 1 else None
    pairs = ((request.ttft_seconds, limits.ttft_seconds), (request.tpot_seconds, tpot_limit))
    return all(most is None or (seconds is not None and seconds <= most) for seconds, most in pairs)
