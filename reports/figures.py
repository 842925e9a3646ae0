"""Frontiers as matplotlib figures; the same trials give the same bytes."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from evals.statistics import Estimate
from reports.metrics import CellMetrics
from reports.pareto import Point, frontier, surely_dominated
from reports.plots import Plot, oriented

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito: told apart by all eyes
MOST_NAMES = 30
SHAPES = ("o", "s", "^", "D")  # beyond six engines the colours come again in another shape
STYLE: Any = {
    "svg.hashsalt": "bitfrontier",
    "svg.fonttype": "path",
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "text.parse_math": False,  # names of methods and files may hold dollar signs
}


def draw(cells: Sequence[CellMetrics], plot: Plot, failing: frozenset[str]) -> Figure:
    """One figure: a point with its intervals per cell, the frontier as a line, dominated cells faded.

    `failing` are the keys of cells that fail a limit: crosses, never on the frontier.
    """
    points = [point for point in oriented(cells, plot) if point.key not in failing]
    faded = {point.key for point in points if surely_dominated(point, points)}
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.2, 4.4), layout="constrained")
        engines = sorted({cell.trial.engine for cell in cells})
        for key, group in _groups(cells, plot, failing, faded).items():
            _draw_group(axes, group, plot, _mark(engine_mark(engines.index(key[0])), key[1]))
        _name(axes, [cell for cell in cells if cell.trial.key not in faded | failing], plot)
        _draw_frontier(axes, points, plot)
        for number, engine in enumerate(engines):
            mark = engine_mark(number)
            axes.plot([], [], mark.shape, color=mark.colour, label=_short(engine))
        if failing:
            axes.plot([], [], "x", color="#888888", label="fails a limit")
        figure.legend(loc="outside right upper", frameon=False)
        axes.set_xlabel(plot.x.full_label)
        axes.set_ylabel(plot.y.full_label)
        axes.set_title(plot.title)
        axes.margins(0.12)
    return figure


@dataclass(frozen=True)
class Mark:
    """How a cell is drawn."""

    shape: str
    colour: str
    alpha: float = 1.0


def engine_mark(number: int) -> Mark:
    """Of the engine at this place in the order of names: no two of the first 24 look the same."""
    return Mark(SHAPES[number // len(COLOURS) % len(SHAPES)], COLOURS[number % len(COLOURS)])


State = Literal["free", "faded", "failing"]


def _groups(
    cells: Sequence[CellMetrics], plot: Plot, failing: frozenset[str], faded: set[str]
) -> dict[tuple[str, State], list[CellMetrics]]:
    """Cells that have both values, by engine and how they are drawn: one call draws a thousand as fast as one."""
    found: dict[tuple[str, State], list[CellMetrics]] = {}
    for cell in cells:
        if plot.x.read(cell) is not None and plot.y.read(cell) is not None:
            key = cell.trial.key
            state: State = "failing" if key in failing else "faded" if key in faded else "free"
            found.setdefault((cell.trial.engine, state), []).append(cell)
    return found


def _mark(mark: Mark, state: State) -> Mark:
    if state == "failing":
        return replace(mark, shape="x" if mark.shape == SHAPES[0] else "+")
    return replace(mark, alpha=0.4) if state == "faded" else mark


def _draw_group(axes: Axes, cells: Sequence[CellMetrics], plot: Plot, mark: Mark) -> None:
    xs, ys = ([one for cell in cells if (one := axis.read(cell)) is not None] for axis in (plot.x, plot.y))
    axes.errorbar(
        [one.value for one in xs], [one.value for one in ys], xerr=_errors(xs), yerr=_errors(ys), fmt=mark.shape,
        color=mark.colour, alpha=mark.alpha, capsize=2, linewidth=0.8,
    )  # fmt: skip


def _name(axes: Axes, cells: Sequence[CellMetrics], plot: Plot) -> None:
    """Faded and failing ones lie on each other; the tables name them all. So do too many."""
    for cell in cells[:MOST_NAMES]:
        x, y = plot.x.read(cell), plot.y.read(cell)
        if x is not None and y is not None:
            axes.annotate(
                _short(cell.trial.method_label), (x.value, y.value), xytext=(5, 5), textcoords="offset points",
                fontsize=8,
            )  # fmt: skip


def _short(text: str) -> str:
    return textwrap.shorten(text, 36, placeholder="…")


def _errors(found: Sequence[Estimate]) -> list[list[float]]:
    """Below and above; NaN draws nothing where an end has no bound or there is no interval."""
    pairs = [_error(one) for one in found]
    return [[below for below, _ in pairs], [above for _, above in pairs]]


def _error(one: Estimate) -> tuple[float, float]:
    if not (math.isfinite(one.low) and math.isfinite(one.high)) or one.low == one.high:
        return math.nan, math.nan
    return max(one.value - one.low, 0.0), max(one.high - one.value, 0.0)


def _draw_frontier(axes: Axes, points: Sequence[Point], plot: Plot) -> None:
    best = sorted(frontier(points), key=lambda point: point.x.value)
    xs = [-p.x.value if plot.x.less else p.x.value for p in best]
    ys = [-p.y.value if plot.y.less else p.y.value for p in best]
    axes.plot(xs, ys, "--", color="#888888", linewidth=1, zorder=0, label="frontier, by values")


def save(figure: Figure, folder: Path, name: str) -> bytes:
    """Write NAME.svg and NAME.png without a time stamp; returns a small PNG for readers of the page without scripts."""
    large, small = io.BytesIO(), io.BytesIO()
    with plt.rc_context(STYLE):
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": "bitfrontier"})
        figure.set_layout_engine("none")  # all is in its place now
        figure.savefig(large, format="png", dpi=150, metadata={"Software": "bitfrontier"})
    (folder / f"{name}.png").write_bytes(large.getvalue())
    with Image.open(large) as picture:
        half = picture.convert("RGB").resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)
        half.quantize(64).save(small, format="png")
    plt.close(figure)
    return small.getvalue()
