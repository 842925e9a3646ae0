"""Frontiers as matplotlib figures; the same trials give the same bytes.

`python -m reports.output.render_plots FOLDER` reads the path of a file of drawings from standard input, once there is
one, writes their files into FOLDER and prints a small PNG of each.
"""

from __future__ import annotations

import base64
import io
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image
from pydantic import TypeAdapter

from evals.stats.intervals import Estimate
from quant.canonical_json import whole_file, write_whole
from reports.output.drawn_frontiers import Dot, Drawing, State

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito: told apart by all eyes
MOST_NAMES = 30
LONGEST_NAME = 36
FAINT = 0.2  # of intervals of cells that are not on the frontier
MARK = 5.0  # half of a mark's width, with what is left free around it, in pixels
APART = 2.0  # of names, in pixels
PLACES = ((7, 4, "left"), (7, -10, "left"), (-7, 4, "right"), (-7, -10, "right"), (0, 9, "center"), (0, -16, "center"))
SHAPES = ("o", "s", "^", "D")  # beyond six engines the colours come again in another shape
STYLE: Any = {
    "svg.hashsalt": "bitfrontier",
    "svg.fonttype": "path",
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "text.parse_math": False,  # names of methods and files may hold dollar signs
}


def draw(drawing: Drawing) -> Figure:
    """One figure: a point with its intervals per cell, the frontier as a line, dominated cells faded, failing ones
    crosses.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.2, 4.4), layout="constrained")
        groups: dict[tuple[str, State, bool], list[Dot]] = {}  # one call draws a thousand as fast as one
        for dot in drawing.dots:
            groups.setdefault((dot.engine, dot.state, dot.on), []).append(dot)
        for (engine, state, on), group in groups.items():
            mark = engine_mark(drawing.engines.index(engine))
            if state == "failing":
                mark = replace(mark, shape="x" if mark.shape == SHAPES[0] else "+")
            mark = replace(mark, alpha=0.4) if state == "faded" else mark
            _draw_group(axes, group, mark if on else replace(mark, bars=FAINT))
        line = sorted((dot.x.value, dot.y.value) for dot in drawing.dots if dot.on)
        label = "frontier, by values"
        axes.plot([x for x, _ in line], [y for _, y in line], "--", color="#888888", linewidth=1, zorder=0, label=label)
        for number, engine in enumerate(drawing.engines):
            mark = engine_mark(number)
            axes.plot([], [], mark.shape, color=mark.colour, label=_short(engine))
        if any(dot.state == "failing" for dot in drawing.dots):
            axes.plot([], [], "x", color="#888888", label="fails a limit")
        figure.legend(loc="outside right upper", frameon=False)
        axes.set_xlabel(drawing.x_label)
        axes.set_ylabel(drawing.y_label)
        axes.set_title(drawing.title)
        axes.margins(0.12)
        if layout := figure.get_layout_engine():  # all in its place once: else it is drawn once more for each file
            layout.execute(figure)
            figure.set_layout_engine(None)
        _name(figure, axes, [dot for dot in drawing.dots if dot.state == "free"])
    return figure


@dataclass(frozen=True)
class Mark:
    """How a cell is drawn; `bars` is the opacity of its intervals."""

    shape: str
    colour: str
    alpha: float = 1.0
    bars: float = 1.0


def engine_mark(number: int) -> Mark:
    """Of the engine at this place in the order of names: no two of the first 24 look the same."""
    return Mark(SHAPES[number // len(COLOURS) % len(SHAPES)], COLOURS[number % len(COLOURS)])


def _draw_group(axes: Axes, dots: Sequence[Dot], mark: Mark) -> None:
    container = axes.errorbar(
        [dot.x.value for dot in dots],
        [dot.y.value for dot in dots],
        xerr=_errors([dot.x for dot in dots]),
        yerr=_errors([dot.y for dot in dots]),
        fmt=mark.shape,
        color=mark.colour,
        alpha=mark.alpha,
        capsize=2,
        linewidth=0.8,
    )
    _, ends, bars = container
    for line in (*ends, *bars):
        line.set_alpha(min(mark.alpha, mark.bars))


def _name(figure: Figure, axes: Axes, dots: Sequence[Dot]) -> None:
    """Name the frontier's cells, then others of these, each where it hides no name and no mark of theirs, or not at
    all: the tables name every cell.
    """
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]  # of Agg, which draws here
    frame = axes.get_window_extent(renderer)
    marks = [axes.transData.transform((dot.x.value, dot.y.value)) for dot in dots]
    taken = [Bbox.from_bounds(x - MARK, y - MARK, 2 * MARK, 2 * MARK) for x, y in marks]
    for dot in sorted(dots, key=lambda dot: not dot.on)[:MOST_NAMES]:
        place = (dot.x.value, dot.y.value)
        text = axes.annotate(_short(dot.method), place, xytext=(0, 0), textcoords="offset points", fontsize=8)
        for across, up, side in PLACES:
            text.set(position=(across, up), horizontalalignment=side)
            box = text.get_window_extent(renderer).padded(APART)
            if frame.x0 <= box.x0 and box.x1 <= frame.x1 and not any(map(box.overlaps, taken)):
                taken.append(box)
                break
        else:
            text.remove()


def _short(text: str) -> str:
    """In one line. `textwrap.shorten` leaves nothing of a long name without spaces."""
    plain = " ".join(text.split())
    return plain if len(plain) <= LONGEST_NAME else f"{plain[: LONGEST_NAME - 1]}…"


def _errors(estimates: Sequence[Estimate]) -> list[list[float]]:
    """Below and above; NaN draws nothing where an end has no bound or there is no interval."""
    pairs = [_error(estimate) for estimate in estimates]
    return [[below for below, _ in pairs], [above for _, above in pairs]]


def _error(estimate: Estimate) -> tuple[float, float]:
    if not (math.isfinite(estimate.low) and math.isfinite(estimate.high)) or estimate.low == estimate.high:
        return math.nan, math.nan
    return max(estimate.value - estimate.low, 0.0), max(estimate.high - estimate.value, 0.0)


def save(figure: Figure, folder: Path, name: str) -> bytes:
    """Write NAME.svg and NAME.png without a time stamp; returns a small PNG for readers of the page without scripts."""
    large, small = io.BytesIO(), io.BytesIO()
    with plt.rc_context(STYLE):
        with whole_file(folder / f"{name}.svg") as drawing:
            figure.savefig(drawing, format="svg", metadata={"Date": None, "Creator": "bitfrontier"})
        figure.savefig(large, format="png", dpi=150, metadata={"Software": "bitfrontier"})
    write_whole(folder / f"{name}.png", large.getvalue())
    with Image.open(large) as picture:
        half = picture.convert("RGB").resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)
        half.quantize(64).save(small, format="png")
    plt.close(figure)
    return small.getvalue()


def main() -> None:
    folder, file = Path(sys.argv[1]), sys.stdin.readline().strip()
    if not file:  # whoever would have said it has ended
        return
    drawings = TypeAdapter(list[Drawing]).validate_json(Path(file).read_bytes())
    pictures = {
        drawing.name: base64.b64encode(save(draw(drawing), folder, drawing.name)).decode() for drawing in drawings
    }
    json.dump(pictures, sys.stdout)


if __name__ == "__main__":
    main()
