"""Which cell is the fastest at which concurrency, and where one overtakes another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from evals.stats.intervals import CONFIDENCE, Estimate, Floats, t_quantile
from reports.metrics.cell import CellMetrics

MANY = 20
DRAWS = 4000
Shape = tuple[int, int]  # prompt and output tokens


@dataclass(frozen=True)
class Fastest:
    """At one concurrency: the cell with the highest rate, and those whose intervals overlap with its own."""

    model: str
    workload: str
    shape: Shape
    concurrency: int
    name: str
    rate: Estimate
    near: tuple[str, ...]


@dataclass(frozen=True)
class Crossing:
    """`first` is faster below this concurrency, `then` above it. An end of its interval that lies beyond the measured
    concurrencies is unbounded.
    """

    model: str
    workload: str
    shape: Shape
    first: str
    then: str
    concurrency: Estimate


def fastest(cells: Sequence[CellMetrics]) -> list[Fastest]:
    """Of each model at each closed load that several cells ran; nothing where one concurrency was all."""
    winners = []
    for (model, workload, shape), curves in _curves(cells).items():
        for concurrency in sorted({at for curve in curves.values() for at in curve}):
            rates = {name: curve[concurrency] for name, curve in curves.items() if concurrency in curve}
            best = max(rates, key=lambda name: rates[name].value)
            near = tuple(name for name, rate in rates.items() if name != best and rate.high >= rates[best].low)
            winners.append(Fastest(model, workload, shape, concurrency, best, rates[best], near))
    return winners


def crossings(cells: Sequence[CellMetrics]) -> list[Crossing]:
    """Every pair of cells whose rates, by value, change places once between two concurrencies; of many cells, those
    that are the fastest somewhere.
    """
    crossovers = []
    best = {name for winner in fastest(cells) for name in (winner.name, *winner.near)}
    for (model, workload, shape), curves in _curves(cells).items():
        compared = [name for name in curves if len(curves) <= MANY or name in best]
        for first, other in combinations(compared, 2):
            crossing = _crossing(curves[first], curves[other])
            if crossing is not None:
                names = (first, other) if crossing[0] else (other, first)
                crossovers.append(Crossing(model, workload, shape, *names, crossing[1]))
    return crossovers


Curve = dict[int, Estimate]


def _curves(cells: Sequence[CellMetrics]) -> dict[tuple[str, str, Shape], dict[str, Curve]]:
    """By model, workload and token counts: each cell's rate at each concurrency, where there are several of both."""
    by_group: dict[tuple[str, str, Shape], dict[str, Curve]] = {}
    for cell in cells:
        for load in cell.loads:
            if load.load.concurrency is not None:
                shape = (load.load.prompt_tokens, load.load.output_tokens)
                curves = by_group.setdefault((cell.trial.model, load.load.source, shape), {})
                curves.setdefault(cell.trial.name, {})[load.load.concurrency] = load.output_rate
    return {
        key: curves
        for key, curves in by_group.items()
        if len(curves) > 1 and len({at for curve in curves.values() for at in curve}) > 1
    }


def _crossing(first: Curve, other: Curve) -> tuple[bool, Estimate] | None:
    """(whether the first one is the faster at low concurrency, where that ends); None where they do not change places
    exactly once. Between two concurrencies the logarithm of the ratio of rates is taken to be linear in that of the
    concurrency.
    """
    at = sorted(first.keys() & other.keys())
    if len(at) < 2:
        return None
    ratios = np.array([math.log(first[c].value / other[c].value) for c in at])
    (changes,) = np.nonzero(np.sign(ratios[1:]) != np.sign(ratios[:-1]))
    if len(changes) != 1 or 0.0 in ratios:
        return None
    places = np.log(np.array(at, dtype=np.float64))
    drawn = _first_crossings(places, _draws(first, other, at), falling=ratios[0] > 0)
    low, high = np.percentile(drawn, [100 * (1 - CONFIDENCE) / 2, 100 * (1 + CONFIDENCE) / 2], method="inverted_cdf")
    value = _first_crossings(places, ratios[None], falling=ratios[0] > 0)[0]
    return bool(ratios[0] > 0), Estimate(math.exp(value), math.exp(low), math.exp(high), len(at))


def _draws(first: Curve, other: Curve, at: Sequence[int]) -> Floats:
    """(draws, concurrencies) possible logarithms of the ratio, as the rates' t intervals over repeats have it."""
    generator = np.random.default_rng(0)
    columns = []
    for concurrency in at:
        sides = [_log_rates(curve[concurrency], generator) for curve in (first, other)]
        columns.append(sides[0] - sides[1])
    return np.stack(columns, axis=1)


def _log_rates(rate: Estimate, generator: np.random.Generator) -> Floats:
    """Draws of the logarithm of a mean rate. One repeat says nothing about its spread: a factor of two is taken."""
    degrees = max(rate.count - 1, 1)
    half = math.log(rate.high / rate.value) if math.isfinite(rate.high) else math.log(2)
    logs: Floats = math.log(rate.value) + half / t_quantile(degrees) * generator.standard_t(degrees, DRAWS)
    return logs


def _first_crossings(places: Floats, ratios: Floats, *, falling: bool) -> Floats:
    """Of each row, where the ratio first passes zero; −∞ where it has from the start, ∞ where it never does."""
    signed = ratios if falling else -ratios
    crossed = np.full(len(signed), np.inf)
    for left in range(len(places) - 2, -1, -1):
        before, after = signed[:, left], signed[:, left + 1]
        passes = (before > 0) & (after <= 0)
        share = np.divide(before, before - after, out=np.zeros_like(before), where=passes)
        crossed = np.where(passes, places[left] + share * (places[left + 1] - places[left]), crossed)
    return np.where(signed[:, 0] <= 0, -np.inf, crossed)
