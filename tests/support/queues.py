"""Open loads on simulated servers whose capacity is known."""

from __future__ import annotations

import heapq

import numpy as np

from evals.schema.load import LoadPoint, Request, Speed


def queued(
    generator: np.random.Generator, load: float, *, requests: int = 120, repeats: int = 3, slots: int = 8
) -> Speed:
    """Poisson arrivals at `load` times what a server takes: so many at once, each for about a second (log-normal, 30 %).

    Tokens do not matter here: each answer has two.
    """
    rate = load * slots
    point = LoadPoint(None, requests, 16, 2, rate, "poisson")
    return Speed(point, tuple(_repeat(generator, rate, requests, slots) for _ in range(repeats)))


def _repeat(generator: np.random.Generator, rate: float, requests: int, slots: int) -> tuple[Request, ...]:
    free, served = [0.0] * slots, []
    arrivals = np.cumsum(generator.exponential(1 / rate, requests)).tolist()
    for due, seconds in zip(arrivals, generator.lognormal(-0.045, 0.3, requests).tolist(), strict=True):
        begin = max(due, heapq.heappop(free))
        end = begin + seconds
        heapq.heappush(free, end)
        served.append(Request(due, ((begin + 0.1 * seconds, 1), (end, 2)), end, 16, 2, None, due))
    return tuple(served)
