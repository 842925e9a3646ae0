"""Frontiers as matplotlib figures; the same trials give the same bytes."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evals.statistics import Estimate
from reports.metrics import CellMetrics
from reports.pareto import Point, frontier, surely_dominated
from reports.plots import Plot, oriented

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito: told apart by all eyes
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
        for cell in cells:
            mark = engine_mark(engines.index(cell.trial.engine))
            if cell.trial.key in failing:
                mark = replace(mark, shape="x" if mark.shape == SHAPES[0] else "+")
            named = cell.trial.key not in faded and cell.trial.key not in failing
            _draw_cell(axes, cell, plot, replace(mark, alpha=0.4) if cell.trial.key in faded else mark, named=named)
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


def _draw_cell(axes: Axes, cell: CellMetrics, plot: Plot, mark: Mark, *, named: bool) -> None:
    x, y = plot.x.read(cell), plot.y.read(cell)
    if x is None or y is None:
        return
    axes.errorbar(
        x.value, y.value, xerr=_error(x), yerr=_error(y), fmt=mark.shape, color=mark.colour, alpha=mark.alpha,
        capsize=2, linewidth=0.8,
    )  # fmt: skip
    if not named:
        return  # many lie on each other; the table names them all
    label = _short(cell.trial.method_label)
    axes.annotate(label, (x.value, y.value), xytext=(5, 5), textcoords="offset points", fontsize=8, alpha=mark.alpha)


def _short(text: str) -> str:
    return textwrap.shorten(text, 36, placeholder="…")


def _error(one: Estimate) -> list[list[float]] | None:
    if not (math.isfinite(one.low) and math.isfinite(one.high)) or one.low == one.high:
        return None
    return [[max(one.value - one.low, 0.0)], [max(one.high - one.value, 0.0)]]


def _draw_frontier(axes: Axes, points: Sequence[Point], plot: Plot) -> None:
    best = sorted(frontier(points), key=lambda point: point.x.value)
    xs = [-p.x.value if plot.x.less else p.x.value for p in best]
    ys = [-p.y.value if plot.y.less else p.y.value for p in best]
    axes.plot(xs, ys, "--", color="#888888", linewidth=1, zorder=0, label="frontier, by values")


def save(figure: Figure, folder: Path, name: str) -> str:
    """Write NAME.svg and NAME.png without a time stamp; returns the SVG for the page."""
    with plt.rc_context(STYLE):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "bitfrontier"})
        figure.savefig(folder / f"{name}.png", dpi=150, metadata={"Software": "bitfrontier"})
    plt.close(figure)
    svg = buffer.getvalue()
    (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    return svg[svg.index("<svg") :]
