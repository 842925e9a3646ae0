"""Which requests of a load tell how long users wait in steady operation. The one place of that definition."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evals.metrics.throughput import drains_at
from evals.schema.load import Request, Speed
from evals.stats.intervals import Clustered

Figures = Callable[[Request], Sequence[float]]
Unit = tuple[int, int, int]  # round, repeat, wave
InWaves = list[tuple[Request, int]]


@dataclass(frozen=True)
class Steady:
    """The requests of all repeats that count: `started` for TTFT, `ended` for what lasts to a request's end (TPOT, ITL,
    end-to-end, goodput). `one_wave`: some repeat has too few to leave out the burst at its start.

    `started_in` and `ended_in` have each one's round, repeat, and wave there. A wave is as many requests, in order of
    sending, as are in flight at once: the concurrency, or the mean over an open load.
    """

    started: tuple[Request, ...]
    ended: tuple[Request, ...]
    one_wave: bool
    started_in: tuple[Unit, ...]
    ended_in: tuple[Unit, ...]

    def of_started(self, figures: Figures) -> Clustered:
        """What requests have of a figure, any number of values each, by wave and repeat."""
        return _clustered(self.started, self.started_in, figures)

    def of_ended(self, figures: Figures) -> Clustered:
        return _clustered(self.ended, self.ended_in, figures)


def ttft(request: Request) -> Sequence[float]:
    return (request.ttft_seconds,)


def tpot(request: Request) -> Sequence[float]:
    """Nothing of an answer of one token, nor of one that came at once."""
    return () if request.tpot_seconds is None else (request.tpot_seconds,)


def e2e(request: Request) -> Sequence[float]:
    return (request.end_seconds - request.start_seconds,)


def _clustered(requests: Sequence[Request], units: Sequence[Unit], figures: Figures) -> Clustered:
    values: list[float] = []
    of_values: list[Unit] = []
    for request, unit in zip(requests, units, strict=True):
        figures_of_request = figures(request)
        values += figures_of_request
        of_values += [unit] * len(figures_of_request)
    waves = {unit: number for number, unit in enumerate(dict.fromkeys(of_values))}
    alone = len({visit for visit, *_ in waves}) == 1  # repeats of one server are not independent, those of servers are
    of_repeat = {unit: unit[:2] if alone else unit[:1] for unit in waves}
    repeats = {repeat: number for number, repeat in enumerate(dict.fromkeys(of_repeat.values()))}
    return Clustered(
        np.asarray(values, dtype=np.float64),
        np.asarray([waves[unit] for unit in of_values], dtype=np.int64),
        np.asarray([repeats[of_repeat[unit]] for unit in of_values], dtype=np.int64),
    )


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
    parts = [_steady(repeat, speed.load.concurrency) for repeat in speed.repeats]
    started, ended = [part[0] for part in parts], [part[1] for part in parts]
    rounds = speed.rounds or (1,) * len(parts)
    return Steady(
        started=tuple(request for part in started for request, _ in part),
        ended=tuple(request for part in ended for request, _ in part),
        one_wave=any(part[2] for part in parts),
        started_in=tuple((rounds[number], number, wave) for number, part in enumerate(started) for _, wave in part),
        ended_in=tuple((rounds[number], number, wave) for number, part in enumerate(ended) for _, wave in part),
    )


def _steady(repeat: Sequence[Request], users: int | None) -> tuple[InWaves, InWaves, bool]:
    """Of one repeat those that started and those that ended in steady operation, each with its wave; one wave or not"""
    in_order = sorted(repeat, key=lambda request: request.sent_seconds)
    if users is None or users == 1:
        every = _in_waves(in_order, _wave_size(repeat, users))
        return every, every, False
    drain = drains_at(repeat)
    started = _in_waves([request for request in in_order[users:] if request.sent_seconds <= drain], users)
    if len(started) < users:
        every = _in_waves(in_order, users)
        return every, every, True
    ended = [(request, wave) for request, wave in started if request.end_seconds <= drain]
    return started, ended if len(ended) >= users else started, False


def _in_waves(requests: Sequence[Request], size: int) -> InWaves:
    return [(request, place // size) for place, request in enumerate(requests)]


def _wave_size(repeat: Sequence[Request], users: int | None) -> int:
    """The users; of an open load, how many are in flight in the mean over the time in which requests are due, rounded
    up.
    """
    if users is not None:
        return users
    starts = [request.start_seconds for request in repeat]
    seconds = max(starts) - min(starts)
    waited = sum(request.end_seconds - request.start_seconds for request in repeat)
    return math.ceil(min(waited / seconds, len(repeat))) if seconds else 1
