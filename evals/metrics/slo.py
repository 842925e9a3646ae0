"""Whether a load meets an SLO: limits on TTFT and TPOT at a percentile of the requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from evals.metrics.saturation import keeps_up
from evals.metrics.steady_state import steady
from evals.schema.load import Request, Speed
from evals.schema.slo import SLO
from evals.stats.intervals import Estimate, percentile_interval

LimitState = Literal["met", "violated", "inconclusive"]


def slo_verdict(speed: Speed, limits: SLO) -> LimitState:
    """By the 95 % interval of the percentile over the requests of all repeats that count (order statistics;
    `evals.metrics.steady_state`): "met" where it lies within every limit, "violated" where it lies beyond one or the
    server does not keep up, else "inconclusive".
    """
    counted = steady(speed)
    sides = [
        _side([request.ttft_seconds for request in counted.started], limits.ttft_seconds, limits.percentile),
        _side(tpots(counted.ended), limits.tpot_seconds, limits.percentile),
    ]
    return worst(sides) if keeps_up(speed) else "violated"


def tpots(requests: Sequence[Request]) -> list[float | None]:
    """TPOT of the requests that have one by definition: of one token there is none (MLPerf), and none is judged. None
    for an answer of several tokens that came at once: its TPOT is not known.
    """
    return [request.tpot_seconds for request in requests if request.output_tokens > 1]


def _side(seconds: Sequence[float | None], most: float | None, percentile: float) -> LimitState:
    """Where some value is not known, or there is none at all, nothing is."""
    if most is None:
        return "met"
    known = [value for value in seconds if value is not None]
    if len(known) < len(seconds) or not known:
        return "inconclusive"
    return within(percentile_interval(known, percentile), most)


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
