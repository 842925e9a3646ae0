"""Rates of one repeat of a load, over its steady window."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evals.schema.load import Request, Speed
from evals.stats.intervals import mean_t_log


def steady_rates(repeat: Sequence[Request]) -> tuple[float, float, float]:
    """(output tokens, prompt tokens, requests) per second from the first start until the load began to drain.

    A closed loop drains when a request has ended and none takes its place; an open load drains when the last request
    was due. What arrives later ran with fewer in flight and does not count. All three are sums over the same shares of
    the requests (`share_by`), so that with equal answers requests/s × tokens of a request are tokens/s.
    """
    start = min(request.start_seconds for request in repeat)
    is_open = repeat[0].due_seconds is not None
    end = max(request.start_seconds for request in repeat) if is_open else drains_at(repeat)
    seconds = end - start
    shares = [share_by(request, end) for request in repeat]
    pairs = list(zip(shares, repeat, strict=True))
    output = sum(share * request.output_tokens for share, request in pairs)
    prompt = sum(share * request.prompt_tokens for share, request in pairs)
    return output / seconds, prompt / seconds, sum(shares) / seconds


def drains_at(repeat: Sequence[Request]) -> float:
    """The first end after which no request was sent in its place: each that is sent takes the place last left."""
    changes = [(request.end_seconds, False) for request in repeat] + [
        (request.sent_seconds, True) for request in repeat
    ]
    left: list[float] = []
    for at, is_sent in sorted(changes):
        if not is_sent:
            left.append(at)
        elif left:
            left.pop()
    return left[0]


def share_by(request: Request, end: float) -> float:
    """How much of a request was done by `end`: its output tokens that had come ÷ all of them. An answer that came at
    once says nothing of the way there: it counts by its share of the time since it was sent.
    """
    if request.end_seconds <= end:
        return 1.0
    if len(request.chunks) == 1:
        return max(end - request.sent_seconds, 0.0) / (request.end_seconds - request.sent_seconds)
    return _tokens_by(request, end) / request.chunks[-1][1]


def _tokens_by(request: Request, end: float) -> float:
    """Those of the chunks that came by `end`, and of the next one as much as the time since the one before it."""
    came = [chunk for chunk in request.chunks if chunk[0] <= end]
    if not came or len(came) == len(request.chunks):
        return came[-1][1] if came else 0
    (before, tokens), (after, more) = came[-1], request.chunks[len(came)]
    return tokens + (more - tokens) * (end - before) / (after - before)


def first_stage(speed: Speed) -> int:
    """How many repeats' spread decided on how many there are; 0 where their number was fixed. In runs from before that
    was recorded two at least were always measured, and the interval of all was looked at after each further one.
    """
    wanted = speed.load.target_relative_ci is not None
    return min(speed.first_repeats or 2, len(speed.repeats)) if wanted and len(speed.repeats) > 1 else 0


def relative_half_width(speed: Speed) -> float:
    """Of the interval of the mean output rate, its upper side as a share of it; infinite for one repeat, and where no
    token came in some window.
    """
    estimate = mean_t_log([steady_rates(repeat)[0] for repeat in speed.repeats], first_stage(speed))
    return (estimate.high - estimate.value) / estimate.value if estimate.value else math.inf
