"""Which requests of a load tell how long users wait in steady operation. The one place of that definition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evals.metrics.throughput import drains_at
from evals.schema.load import Request, Speed


@dataclass(frozen=True)
class Steady:
    """The requests of all repeats that count: `started` for TTFT, `ended` for what lasts to a request's end (TPOT, ITL,
    end-to-end, goodput). `one_wave`: some repeat has too few to leave out the burst at its start.
    """

    started: tuple[Request, ...]
    ended: tuple[Request, ...]
    one_wave: bool


def steady(speed: Speed) -> Steady:
    """In a closed loop of C users, C > 1, the first C requests start at once, a burst that steady operation has not;
    and when the load drains (`evals.metrics.throughput`), those under way go on with fewer beside them.

    TTFT counts requests that took the place of another: all but the first C in order of sending, sent before the drain.
    What lasts to the end counts those of them that ended before the drain, where they are at least C in a repeat; else
    all of them. Where fewer than C took another's place, all requests of the repeat count, and it is one wave. A turn
    of a conversation takes the place of the turn before it.
    In an open load all requests count: its arrivals, bursts among them, are the load. So they do with one user.
    """
    memo = vars(speed)  # every conclusion asks for it; no field of the record, so that nothing that is written has it
    if "_steady" not in memo:
        memo["_steady"] = _counted(speed)
    steady_state: Steady = memo["_steady"]
    return steady_state


def _counted(speed: Speed) -> Steady:
    users = speed.load.concurrency or 1
    if users == 1:
        everything = tuple(request for repeat in speed.repeats for request in repeat)
        return Steady(everything, everything, one_wave=False)
    parts = [_steady(repeat, users) for repeat in speed.repeats]
    return Steady(
        started=tuple(request for part in parts for request in part.started),
        ended=tuple(request for part in parts for request in part.ended),
        one_wave=any(part.one_wave for part in parts),
    )


def _steady(repeat: Sequence[Request], users: int) -> Steady:
    later, drain = sorted(repeat, key=lambda request: request.sent_seconds)[users:], drains_at(repeat)
    started = tuple(request for request in later if request.sent_seconds <= drain)
    if len(started) < users:
        return Steady(tuple(repeat), tuple(repeat), one_wave=True)
    ended = tuple(request for request in started if request.end_seconds <= drain)
    return Steady(started, ended if len(ended) >= users else started, one_wave=False)
