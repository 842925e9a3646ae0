"""Whether a load is served as users are promised: limits on TTFT and TPOT at a percentile of the requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from evals.metrics.saturation import keeps_up
from evals.metrics.steady_state import steady
from evals.schema.load import Request, Speed
from evals.schema.slo import ServiceLimits
from evals.stats.intervals import Estimate, percentile_interval

LimitState = Literal["kept", "broken", "unclear"]


def slo_verdict(speed: Speed, limits: ServiceLimits) -> LimitState:
    """By the 95 % interval of the percentile over the requests of all repeats that count (order statistics;
    `evals.metrics.steady_state`): "kept" where it lies within every limit, "broken" where it lies beyond one or the
    server does not keep up, else "unclear".
    """
    counted = steady(speed)
    sides = [
        _side([request.ttft_seconds for request in counted.started], limits.ttft_seconds, limits.percentile),
        _side(tpots(counted.ended), limits.tpot_seconds, limits.percentile),
    ]
    return worst(sides) if keeps_up(speed) else "broken"


def tpots(requests: Sequence[Request]) -> list[float | None]:
    """TPOT of the requests that have one by definition: of one token there is none (MLPerf), and none is judged. None
    for an answer of several tokens that came at once: its TPOT is not known.
    """
    return [request.tpot_seconds for request in requests if request.output_tokens > 1]


def _side(seconds: Sequence[float | None], most: float | None, percentile: float) -> LimitState:
    """Where some value is not known, or there is none at all, nothing is."""
    if most is None:
        return "kept"
    known = [value for value in seconds if value is not None]
    if len(known) < len(seconds) or not known:
        return "unclear"
    return within(percentile_interval(known, percentile), most)


def within(estimate: Estimate, most: float) -> LimitState:
    """Whether a figure surely is at most so large."""
    return "kept" if estimate.high <= most else "broken" if estimate.low > most else "unclear"


def worst(sides: Sequence[LimitState]) -> LimitState:
    """Of limits that must all be kept."""
    return "broken" if "broken" in sides else "unclear" if "unclear" in sides else "kept"


def is_good(request: Request, limits: ServiceLimits) -> bool:
    """Whether this one request waited no longer than any limit: what goodput counts. What is not known is not good. An
    answer of one token, which a trace may hold, has no TPOT to wait for.
    """
    tpot_limit = limits.tpot_seconds if request.output_tokens > 1 else None
    pairs = ((request.ttft_seconds, limits.ttft_seconds), (request.tpot_seconds, tpot_limit))
    return all(most is None or (seconds is not None and seconds <= most) for seconds, most in pairs)
