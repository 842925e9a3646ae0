"""A simulated server that wanders or stalls, and whose capacity is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evals.schema.load import LoadPoint, Request, Speed
from evals.stats.intervals import Floats

LIMIT_SECONDS, REST_SECONDS = 0.5, 0.1
NOISE = 0.1
RESTART_SECONDS = (60.0, 3600.0)
WANDER_SECONDS = 300.0


@dataclass
class Server:
    """TTFT in proportion to the users, at the limit with `at_limit` of them but for noise (log-normal, 10 %).

    It is `wander` slower and faster within five minutes, and stands still for `stall_seconds` at random, once in
    `stall_gap_seconds` on average.
    """

    generator: np.random.Generator
    at_limit: float
    wander: float = 0.0
    stall_seconds: float = 0.0
    stall_gap_seconds: float = math.inf
    now: float = 0.0

    def start(self) -> None:
        """Anew, some time later."""
        self.now += self.generator.uniform(*RESTART_SECONDS)

    def run(self, load: LoadPoint, _: int) -> Speed:
        if load.rate_per_second is not None:
            return self._arrivals(load, load.rate_per_second)
        users = load.concurrency or 1
        waves = math.ceil(load.requests / users)
        waits = LIMIT_SECONDS * users / self.at_limit * self.generator.lognormal(0, NOISE, (waves, users))
        starts = self.now + np.arange(waves)[:, None] * float(waits.mean() + REST_SECONDS)
        waits = waits * (1 + self.wander * np.sin(2 * np.pi * starts / WANDER_SECONDS))
        ends = np.cumsum(waits + REST_SECONDS, axis=0)
        sent, last = np.vstack([np.zeros(users), ends[:-1]]), float(ends.max())
        columns = [np.asarray(column).ravel()[: load.requests].tolist() for column in (sent, sent + waits, ends)]
        self.now += last
        requests = [
            Request(sent_at, ((first, 1), (end, 2)), end, 16, 2) for sent_at, first, end in zip(*columns, strict=True)
        ]
        return Speed(load, (tuple(requests),))

    def _arrivals(self, load: LoadPoint, rate: float) -> Speed:
        """Those that come while it stands still wait until it goes on."""
        due = np.cumsum(self.generator.exponential(1 / rate, load.requests))
        waits = LIMIT_SECONDS * rate / self.at_limit * self.generator.lognormal(0, NOISE, load.requests)
        begin = due.copy()
        for stall in self._stalls(float(due[-1])):
            begin[(due >= stall) & (due < stall + self.stall_seconds)] = stall + self.stall_seconds
        columns = [column.tolist() for column in (due, begin + waits, begin + waits + REST_SECONDS)]
        self.now += columns[2][-1]
        requests = [
            Request(at, ((first, 1), (end, 2)), end, 16, 2, None, at) for at, first, end in zip(*columns, strict=True)
        ]
        return Speed(load, (tuple(requests),))

    def _stalls(self, seconds: float) -> Floats:
        count = self.generator.poisson(seconds / self.stall_gap_seconds)
        return np.sort(self.generator.uniform(0, seconds, count))

    def capacity(self, percentile: float) -> float:
        """The load at which the percentile over hours is at the limit. Those that come while the server stands still
        wait for longer: where they are more than the percentile leaves out, there is none.
        """
        running = math.exp(-self.stall_seconds / self.stall_gap_seconds)
        if percentile >= 100 * running:
            return 0.0
        phases = np.linspace(0, 2 * np.pi, 1000)[:, None]
        noise = np.random.default_rng(0).lognormal(0, NOISE, 1000)
        return float(self.at_limit / np.percentile((1 + self.wander * np.sin(phases)) * noise, percentile / running))
