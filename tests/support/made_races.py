"""Trials of cells that were visited in rounds, made by hand. No figure here was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from evals.schema.load import Speed
from evals.schema.trial import Trial
from tests.support.made_trials import speed, trial


def visited_speed(rates: Mapping[int, float], concurrency: int = 4) -> Speed:
    """One repeat in each round, at these output tokens/s."""
    visits = {number: speed(rate, concurrency, wobble=0.0) for number, rate in rates.items()}
    first = next(iter(visits.values()))
    return replace(first, repeats=tuple(visit.repeats[0] for visit in visits.values()), rounds=tuple(visits))


def raced(method: str, rates: Mapping[int, float], right: int = 80, loss: float = 2.0, **names: str) -> Trial:
    """A cell with one load, visited in these rounds at these output tokens/s; all of one engine need the same memory."""
    made = trial(method, 1.0, 1.0, right, loss, **names)
    visits = [
        {"round": number, "startup_seconds": 2.0, "seconds": 3.0, "attempts": 1} for number in rates if number > 1
    ]
    return replace(made, speed=(visited_speed(rates),), provenance={"visits": visits}, startup_seconds=4.0)


def noisy(mean: float, rounds: int, seed: int, spread: float = 0.03) -> dict[int, float]:
    """A rate in each round, with an error of its own of this standard deviation (of logarithms)."""
    errors = np.random.default_rng(seed).standard_normal(rounds) * spread
    return {number + 1: float(mean * np.exp(error)) for number, error in enumerate(errors)}
