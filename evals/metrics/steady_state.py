"""Which requests of a load tell how long users wait in steady operation. The one place of that definition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evals.metrics.throughput import drains_at
from evals.schema.load import Request, Speed


@dataclass(frozen=True)
class Steady:
    """The requests of all repeats that count: `started` for TTFT, `whole` for what lasts to a request's end (TPOT, ITL,
    end-to-end, goodput). `one_wave`: some repeat has too few to leave out the burst at its start.
    """

    started: tuple[Request, ...]
    whole: tuple[Request, ...]
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
    kept = vars(speed)  # every conclusion asks for it; no field of the record, so that nothing that is written has it
    if "_steady" not in kept:
        kept["_steady"] = _counted(speed)
    found: Steady = kept["_steady"]
    return found


def _counted(speed: Speed) -> Steady:
    users = speed.load.concurrency or 1
    if users == 1:
        everything = tuple(one for repeat in speed.repeats for one in repeat)
        return Steady(everything, everything, one_wave=False)
    parts = [_steady(repeat, users) for repeat in speed.repeats]
    return Steady(
        started=tuple(one for part in parts for one in part.started),
        whole=tuple(one for part in parts for one in part.whole),
        one_wave=any(part.one_wave for part in parts),
    )


def _steady(repeat: Sequence[Request], users: int) -> Steady:
    later, drain = sorted(repeat, key=lambda one: one.sent_seconds)[users:], drains_at(repeat)
    started = tuple(one for one in later if one.sent_seconds <= drain)
    if len(started) < users:
        return Steady(tuple(repeat), tuple(repeat), one_wave=True)
    whole = tuple(one for one in started if one.end_seconds <= drain)
    return Steady(started, whole if len(whole) >= users else started, one_wave=False)
