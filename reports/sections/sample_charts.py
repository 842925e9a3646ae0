"""What a cell's raw samples look like: small charts beside its evidence, as plain data that a template draws."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evals.metrics.steady_state import steady
from evals.schema.load import Request, Speed
from evals.schema.trial import Trial
from evals.stats.intervals import percentiles
from reports.metrics.cell import GIB
from reports.metrics.divergence import Distance

PERCENTS = (0, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 100)
BINS = 40
WIDTH, HEIGHT, LEFT, BOTTOM, EDGE = 320, 170, 48, 30, 10
MOST_CURVES = 6


@dataclass(frozen=True)
class Curve:
    """One line by its name."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Panel:
    """One chart; both axes say their units. Axes begin at zero."""

    title: str
    x: str
    y: str
    curves: tuple[Curve, ...]

    @cached_property
    def ends(self) -> tuple[float, float]:
        """Of both axes."""
        points = [point for curve in self.curves for point in curve.points]
        return max(x for x, _ in points) or 1.0, 1.05 * max(y for _, y in points) or 1.0

    def at(self, x: float, y: float) -> tuple[int, int]:
        """Where a point lies in the drawing."""
        most_x, most_y = self.ends
        right, top = WIDTH - EDGE, EDGE
        place_x = LEFT + x / most_x * (right - LEFT)
        place_y = HEIGHT - BOTTOM - y / most_y * (HEIGHT - BOTTOM - top)
        return round(place_x), round(place_y)

    def path(self, curve: Curve) -> str:
        """Of an SVG."""
        return "M" + "L".join("{} {}".format(*self.at(x, y)) for x, y in curve.points)

    @property
    def grid(self) -> str:
        """A line at each tick, as a path of an SVG."""
        across, up = self.ticks
        lines = [f"M{self.at(x, 0)[0]} {EDGE}V{HEIGHT - BOTTOM}" for x in across]
        return "".join(lines + [f"M{LEFT} {self.at(0, y)[1]}H{WIDTH - EDGE}" for y in up])

    @property
    def ticks(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Round values of both axes."""
        most_x, most_y = self.ends
        return _ticks(most_x), _ticks(most_y)


def _ticks(most: float) -> tuple[float, ...]:
    raw = most / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw)
    return tuple(float(f"{step * number:.6g}") for number in range(int(most / step) + 1))


def panels(trial: Trial, distances: Sequence[Distance]) -> list[Panel]:
    """All that there are samples for."""
    charts = [*_waits(trial.speed), *_gaps_over_time(trial.speed)]
    if trial.memory and len(trial.memory.samples) > 1:
        points = tuple((seconds, size / GIB) for seconds, size in trial.memory.samples)
        curve = Curve(trial.memory.source, points)
        charts.append(Panel("Memory over time", "s since the first load began", "GiB", (curve,)))
    charts += _divergence(trial, distances)
    return [panel for panel in charts if panel.curves]


def _waits(speeds: Sequence[Speed]) -> Iterator[Panel]:
    """Percentile curves over the requests that count, a line for each load."""
    counted = [(speed.load.label, steady(speed)) for speed in speeds[:MOST_CURVES]]
    ttft = [(name, [request.ttft_seconds for request in steady_state.started]) for name, steady_state in counted]
    tpot = [
        (name, [s for request in steady_state.ended if (s := request.tpot_seconds) is not None])
        for name, steady_state in counted
    ]
    for title, pairs in (("TTFT", ttft), ("TPOT", tpot)):
        by_percent = [(name, percentiles(values, PERCENTS)) for name, values in pairs if values]
        curves = tuple(
            Curve(name, tuple((float(p), 1000 * seconds) for p, seconds in zip(PERCENTS, line, strict=True)))
            for name, line in by_percent
        )
        yield Panel(f"{title} by percentile", "percent of requests", "ms", curves)


def _gaps_over_time(speeds: Sequence[Speed]) -> Iterator[Panel]:
    """Of the load with the most requests at once, a line for each repeat: whether it drifts, stalls or warms up."""
    closed = [speed for speed in speeds if speed.load.concurrency]
    if closed:
        speed = max(closed, key=lambda speed: speed.load.concurrency or 0)
        curves = tuple(Curve(f"repeat {n + 1}", _gaps(repeat)) for n, repeat in enumerate(speed.repeats[:MOST_CURVES]))
        title = f"ITL over time at {speed.load.label}"
        yield Panel(title, "s since the load began", "ms, median", tuple(curve for curve in curves if curve.points))


def _gaps(requests: Sequence[Request]) -> tuple[tuple[float, float], ...]:
    """Medians of the gaps between chunks per token that end in each of so many equal spans of time."""
    chunks = [pair for request in requests for pair in itertools.pairwise(request.chunks)]
    if not chunks:
        return ()
    at = np.asarray([then for _, (then, _) in chunks])
    gaps = np.asarray([(then - earlier) / (after - before) for (earlier, before), (then, after) in chunks])
    end = float(at.max())
    places = np.minimum((BINS * at / end).astype(int), BINS - 1)
    order = np.argsort(places, kind="stable")
    spans, starts = np.unique(places[order], return_index=True)
    parts = np.split(1000 * gaps[order], starts[1:])
    return tuple(
        ((span + 0.5) / BINS * end, statistics.median(part.tolist()))
        for span, part in zip(spans.tolist(), parts, strict=True)
    )


def _divergence(trial: Trial, distances: Sequence[Distance]) -> Iterator[Panel]:
    """Beside what is only noise: the baseline's engine read again, where it was."""
    mine = [distance for distance in distances if distance.key == trial.key and distance.kl_by_position]
    curves = tuple(
        Curve(f"{distance.text}: {distance.kind}", tuple((n + 1.0, kl) for n, kl in enumerate(distance.kl_by_position)))
        for distance in mine[:MOST_CURVES]
    )
    yield Panel("KL divergence by position", "position, of those read", "nats", curves)
