"""Whether a load is served as users are promised: limits on TTFT and TPOT at a percentile of the requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from evals.metrics.steady_state import steady
from evals.schema.load import Request, Speed
from evals.schema.slo import ServiceLimits
from evals.stats.intervals import Estimate, percentile_interval

Kept = Literal["kept", "broken", "unclear"]
BACKLOG_SHARE = 0.1


def slo_verdict(speed: Speed, limits: ServiceLimits) -> Kept:
    """By the 95 % interval of the percentile over the requests of all repeats that count (order statistics;
    `evals.metrics.steady_state`): "kept" where it lies within every limit, "broken" where it lies beyond one or the
    server does not keep up, else "unclear".
    """
    counted = steady(speed)
    sides = [
        _side([request.ttft_seconds for request in counted.started], limits.ttft_seconds, limits.percentile),
        _side([request.tpot_seconds for request in counted.ended], limits.tpot_seconds, limits.percentile),
    ]
    return worst(sides) if keeps_up(speed) else "broken"


def _side(seconds: Sequence[float | None], most: float | None, percentile: float) -> Kept:
    """Where one is not known, nothing is."""
    if most is None:
        return "kept"
    known = [value for value in seconds if value is not None]
    if len(known) < len(seconds):
        return "unclear"
    return within(percentile_interval(known, percentile), most)


def within(estimate: Estimate, most: float) -> Kept:
    """Whether a figure surely is at most so large."""
    return "kept" if estimate.high <= most else "broken" if estimate.low > most else "unclear"


def worst(sides: Sequence[Kept]) -> Kept:
    """Of limits that must all be kept."""
    return "broken" if "broken" in sides else "unclear" if "unclear" in sides else "kept"


def is_good(request: Request, limits: ServiceLimits) -> bool:
    """Whether this one request waited no longer than any limit: what goodput counts. What is not known is not good. An
    answer of one token, which a trace may hold, has no TPOT to wait for.
    """
    tpot_limit = limits.tpot_seconds if request.output_tokens > 1 else None
    pairs = ((request.ttft_seconds, limits.ttft_seconds), (request.tpot_seconds, tpot_limit))
    return all(most is None or (seconds is not None and seconds <= most) for seconds, most in pairs)


def keeps_up(speed: Speed) -> bool:
    """False for an open load whose backlog grows: over the second half of the arrivals, in all repeats together, the
    requests in flight grew by more than a tenth of those that were due, and by more than chance lets them: of a server
    that keeps up their number varies about as a Poisson one does.
    """
    if speed.load.concurrency is not None:
        return True
    counts = [_in_flight(repeat) for repeat in speed.repeats]
    before, after, due = (sum(row[place] for row in counts) for place in range(3))
    return after - before <= BACKLOG_SHARE * due + math.sqrt(2 * before)


def _in_flight(repeat: Sequence[Request]) -> tuple[int, int, int]:
    """Requests in flight at the middle arrival and at the last one, and arrivals between. Of those that arrive at once,
    as in a trace, one counts: the server had no time for them yet.
    """
    starts = sorted(request.start_seconds for request in repeat)
    middle, last = starts[len(starts) // 2], starts[-1]

    def in_flight(at: float) -> int:
        return 1 + sum(request.start_seconds < at < request.end_seconds for request in repeat)

    return in_flight(middle), in_flight(last), sum(middle < at <= last for at in starts)
