"""How often a load of known overload is said to keep up: `python -m benchmarks.saturation` (seeded, under a minute).

Poisson arrivals at 0.9, 1.0 and 1.1 times what a simulated server takes, three repeats. *Before*: the requests in
flight at the last arrival against those at the middle one. *After*: the interval of the queue's slope. Wrong is "does
not keep up" below the capacity and "keeps up" above it. At the capacity itself the queue grows slower than any slope:
only the share that keeps up is shown.
"""

from __future__ import annotations

import math

import numpy as np

from evals.metrics.saturation import keeps_up
from evals.schema.load import Request, Speed
from tests.support.queues import queued

LOADS = 100
SHARES = (0.9, 1.0, 1.1)


def main() -> None:
    """Print a table."""
    print("requests  load   kept up: before  after   wrong: before  after")
    for requests in (60, 120, 400):
        for load in SHARES:
            generator = np.random.default_rng(requests)
            speeds = [queued(generator, load, requests=requests) for _ in range(LOADS)]
            shares = [sum(map(rule, speeds)) / LOADS for rule in (_kept_up_before, keeps_up)]
            wrong = ["–" if load == 1 else f"{share if load > 1 else 1 - share:.0%}" for share in shares]
            print(f"{requests:8} {load:5.1f} {shares[0]:16.0%} {shares[1]:6.0%} {wrong[0]:>15} {wrong[1]:>6}")


def _kept_up_before(speed: Speed) -> bool:
    """The rule until November 2026."""
    counts = [_in_flight_before(repeat) for repeat in speed.repeats]
    before, after, due = (sum(row[place] for row in counts) for place in range(3))
    return after - before <= 0.1 * due + math.sqrt(2 * before)


def _in_flight_before(repeat: tuple[Request, ...]) -> tuple[int, int, int]:
    starts = sorted(request.start_seconds for request in repeat)
    middle, last = starts[len(starts) // 2], starts[-1]

    def in_flight(at: float) -> int:
        return 1 + sum(request.start_seconds < at < request.end_seconds for request in repeat)

    return in_flight(middle), in_flight(last), sum(middle < at <= last for at in starts)


if __name__ == "__main__":
    main()
