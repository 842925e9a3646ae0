"""Whether a server keeps up with an open load: the slope of the requests in flight over time, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from evals.schema.load import Request, Speed
from evals.stats.intervals import Estimate, Floats, t_quantile

REQUESTS_A_SPAN = 10
LEAST_SPANS, MOST_SPANS = 3, 20
RANDOM_ARRIVALS = ("poisson", "gamma")


def keeps_up(speed: Speed) -> bool:
    """False for an open load whose queue surely grows: the interval of its slope lies above zero."""
    growth = queue_growth(speed)
    return growth is None or growth.low <= 0


def queue_growth(speed: Speed) -> Estimate | None:
    """By how many requests the queue grows with each that is due; None in a closed loop.

    Each repeat is cut into spans of equal time, after the load has filled the server; what the requests in flight grow
    by in each is a sample, and their mean has a t interval. Where arrivals are drawn, their number in each span is
    known to be random, and its expectation is known: it is a control variate (Lavenberg and Welch, A perspective on the
    use of control variables, Management Science 27, 1981). Without it, as many more or fewer arrivals than the rate
    says hide an overload of a tenth. With it the interval is about what the server takes.
    """
    load = speed.load
    if load.concurrency is not None:
        return None
    spans = [_spans(repeat) for repeat in speed.repeats]
    grown, due, seconds = (np.concatenate(columns) for columns in zip(*spans, strict=True))
    rate = load.rate_per_second if load.arrivals in RANDOM_ARRIVALS else None
    expected = due if rate is None else rate * seconds
    mean, half = _controlled(grown, due - expected)
    each = float(expected.mean()) or 1.0
    return Estimate(mean / each, (mean - half) / each, (mean + half) / each, len(grown))


def _controlled(values: Floats, control: Floats) -> tuple[float, float]:
    """Mean of the values less their slope on a control of expectation zero, and the half-width of its interval."""
    varies = float(control @ control) > 0
    slope = 0.0
    if varies and float(np.ptp(control)) > 0:
        centred = control - control.mean()
        slope = min(max(float(centred @ values / (centred @ centred)), 0.0), 1.0)
    rest = values - slope * control
    freedom = len(values) - (2 if varies else 1)
    error = math.sqrt(float(((rest - rest.mean()) ** 2).sum()) / freedom / len(values))
    return float(rest.mean()), t_quantile(freedom) * error


def _spans(repeat: Sequence[Request]) -> tuple[Floats, Floats, Floats]:
    """Of each span of one repeat: by how much the requests in flight grew, how many were due, its seconds."""
    starts = np.sort([request.start_seconds for request in repeat])
    ends = np.sort([request.end_seconds for request in repeat])
    quarter, half, last = starts[len(starts) // 4], starts[len(starts) // 2], starts[-1]
    begin = min(max(quarter, ends[0]), half)  # the server fills up first
    count = int(np.clip((starts > begin).sum() // REQUESTS_A_SPAN, LEAST_SPANS, MOST_SPANS))
    edges = np.linspace(begin, last, count + 1)
    due = np.searchsorted(starts, edges, "left").astype(np.float64)
    in_flight = due - np.searchsorted(ends, edges, "right")
    return np.diff(in_flight), np.diff(due), np.diff(edges)
