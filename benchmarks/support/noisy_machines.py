"""Simulated machines for `benchmarks.race`: what each noise of a real one does to the speeds of visits.

Speeds are natural logarithms, noises standard deviations of them, times steps of ten seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evals.rounds.block_model import Flags
from evals.stats.intervals import Floats, Labels

CELLS = 6
STEP = 10.0  # s, of the machine's state; a repeat takes one
VISIT_STEPS = 9  # start and warm-up, then the repeats
REPEATS = 3
FIRST_REPEAT = 5  # steps after the visit's start
MOST_AGAIN = 2  # repeated visits beside foreign load
DETECTED, FALSE_ALARM = 0.9, 0.02  # of the sentinel


@dataclass(frozen=True)
class Noise:
    """Of each repeat and each session; the slow-down over a sweep as a share; the wander of 5 minutes; bursts of a
    neighbour (60 s or so many, −35 %, one in 10 minutes), and whether a sentinel looks for them.
    """

    name: str
    session: float = 0.0
    slow_down: float = 0.0
    wander: float = 0.0
    bursts: bool = False
    sentinel: bool = False
    burst_seconds: int = 60
    repeat: float = 0.04


SESSION = Noise("+ 5 % a session", session=0.05)
NOISES = (
    Noise("4 % a repeat"),
    SESSION,
    Noise("+ 10 % a session", session=0.10),
    Noise("5 %, slow-down of 15 %", session=0.05, slow_down=0.15),
    Noise("5 %, wander of 8 %", session=0.05, wander=0.08),
    Noise("5 %, bursts", session=0.05, bursts=True),
    Noise("5 %, bursts, sentinel", session=0.05, bursts=True, sentinel=True),
    Noise("5 %, long b., sentinel", session=0.05, bursts=True, sentinel=True, burst_seconds=300),
)


class Machine:
    """One machine for each of many sweeps: what its state does to every speed, at each step of time."""

    def __init__(self, noise: Noise, sweeps: int, visits: int, generator: np.random.Generator) -> None:
        steps = visits * VISIT_STEPS * (1 + MOST_AGAIN) + VISIT_STEPS
        self.noise, self.generator = noise, generator
        slowed = np.minimum(np.arange(steps) / (visits * VISIT_STEPS), 1.0)
        self.state = np.tile(np.log1p(-noise.slow_down * slowed), (sweeps, 1))
        correlation = np.exp(-STEP / 300)
        wandering = noise.wander * generator.standard_normal(sweeps)
        for step in range(steps):
            self.state[:, step] += wandering
            wandering = correlation * wandering + noise.wander * np.sqrt(
                1 - correlation**2
            ) * generator.standard_normal(sweeps)
        starts = generator.random((sweeps, steps)) < STEP / 600 * noise.bursts
        self.hit: Flags = np.logical_or.reduce(
            [np.roll(starts, step, axis=1) for step in range(int(noise.burst_seconds / STEP))]
        )
        self.now = np.zeros(sweeps, dtype=np.int64)
        self.undisturbed: list[Floats] = []  # the state in each visit that counts, NaN for sweeps without one

    def visit(self, speeds: Floats, wanted: Flags, again: int = MOST_AGAIN) -> tuple[Floats, Labels, Flags]:
        """Logarithms of three repeats (sweeps, repeats) of a cell in the sweeps that want one, visits it took (a
        disturbed one is made `again` so many times), and whether the last one was disturbed, as far as a sentinel says.
        """
        sweeps, generator = np.arange(len(speeds)), self.generator
        logs, todo = np.full((len(speeds), REPEATS), np.nan), wanted.copy()
        taken = np.zeros(len(speeds), dtype=np.int64)
        state = np.full(len(speeds), np.nan)
        for _ in range(1 + again * self.noise.sentinel):
            when = (self.now[:, None] + FIRST_REPEAT + np.arange(REPEATS))[todo]
            hit = self.hit[sweeps[todo, None], when]
            session = self.noise.session * generator.standard_normal((len(when), 1))
            repeats = self.noise.repeat * generator.standard_normal(when.shape)
            state[todo] = self.state[sweeps[todo, None], when].mean(axis=1)
            slowed = self.state[sweeps[todo, None], when] + np.log(0.65) * hit
            logs[todo] = speeds[todo, None] + session + repeats + slowed
            taken += todo
            self.now += VISIT_STEPS * todo
            alarm = generator.random(len(when)) < np.where(hit.any(axis=1), DETECTED, FALSE_ALARM)
            todo[todo] = alarm
        self.undisturbed.append(state)
        return logs, taken, todo & self.noise.sentinel
