"""When the requests of an open load are due."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evals.load.traces import TraceRequest
from evals.schema.load import LoadPoint


def due_seconds(load: LoadPoint, *, seed: int, repeat: int, trace: Sequence[TraceRequest] = ()) -> list[float]:
    """Of each request, seconds from the load's start; the first is due at 0. The same seed and repeat give the same;
    of a `trace` they are its own in every repeat.

    Gaps have the mean 1 ÷ rate: all alike, exponential (a Poisson process, as independent users make), or of a gamma
    distribution whose coefficient of variation is `arrival_cv` (above 1: bursts). Gamma arrivals are those of
    `vllm bench serve` with a burstiness of 1 ÷ arrival_cv². Raises ValueError for a closed loop.
    """
    if trace:
        return [(request.at_seconds - trace[0].at_seconds) / load.trace_speedup for request in trace[: load.requests]]
    if load.rate_per_second is None:
        raise ValueError("a closed loop has no rate: its requests are due when others end")
    mean, count = 1 / load.rate_per_second, load.requests - 1
    generator = np.random.default_rng([seed, repeat, load.requests])
    if load.arrivals == "constant":
        gaps = np.full(count, mean)
    else:
        shape = 1 / load.arrival_cv**2 if load.arrivals == "gamma" else 1.0
        gaps = generator.gamma(shape, mean / shape, count)
    return [0.0, *np.cumsum(gaps).tolist()]
