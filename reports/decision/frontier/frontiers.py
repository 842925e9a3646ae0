"""What frontiers are drawn of, and where each cell stands on them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evals.stats.intervals import Estimate, Floats
from reports.decision.cell_names import model_labels
from reports.decision.frontier.frontier_probability import accuracy_draws, frontier_odds, latency_draws
from reports.decision.frontier.pareto import Point, frontier
from reports.decision.rules import THRESHOLDS
from reports.decision.wording import mix_label
from reports.metrics.cell import CellMetrics
from reports.metrics.cost import Price, per_million
from reports.metrics.figures_of_merit import (
    Mix,
    accuracy_percent,
    bits_per_weight,
    latency_seconds,
    needed_gib,
    throughput,
)
from reports.metrics.ratios import DRAWS, Generator, mean_draws, rate_draws

Read = Callable[[CellMetrics], Estimate | None]
Draw = Callable[[Sequence[CellMetrics], Generator], Floats]


@dataclass(frozen=True)
class Axis:
    """What an axis shows, at which load where that matters; with `less`, a smaller value is better. `draw`: the values
    of all cells as they might have been measured, shape (cells, draws).
    """

    name: str
    read: Read
    label: str
    less: bool
    draw: Draw
    at: str = ""

    @property
    def full_label(self) -> str:
        return self.label + (f" at {self.at}" if self.at else "") + (" (less is better)" if self.less else "")


@dataclass(frozen=True)
class Plot:
    """What one figure shows."""

    name: str
    title: str
    x: Axis
    y: Axis


def _log_ratio(cell: CellMetrics) -> Estimate | None:
    return cell.perplexity_ratio.map(lambda ratio: math.log(max(ratio, 1e-300))) if cell.perplexity_ratio else None


def _cost_of(price: Price, rate_of: Read) -> Read:
    def cost(cell: CellMetrics) -> Estimate | None:
        rate, devices = rate_of(cell), cell.trial.devices
        return per_million(rate, devices, price) if rate and devices else None

    return cost


def each_drawn(read: Read, drawn: Callable[[Estimate, Generator], Floats]) -> Draw:
    """A figure of all cells, each drawn by itself; NaN where a cell has none."""

    def draw(cells: Sequence[CellMetrics], generator: Generator) -> Floats:
        estimates = [read(cell) for cell in cells]
        return np.stack([drawn(estimate, generator) if estimate else np.full(DRAWS, np.nan) for estimate in estimates])

    return draw


def _negative(rate_of: Read) -> Draw:
    """Of a device's rate. It orders cells as their cost does, and is finite where a drawn rate is zero."""
    rates = each_drawn(rate_of, rate_draws)

    def draw(cells: Sequence[CellMetrics], generator: Generator) -> Floats:
        devices = np.asarray([cell.trial.devices or np.nan for cell in cells], dtype=np.float64)
        negative: Floats = -rates(cells, generator) / devices[:, None]
        return negative

    return draw


def _latencies(cells: Sequence[CellMetrics], generator: Generator) -> Floats:
    return np.stack([latency_draws(cell, generator) for cell in cells])


def plots(busiest: str, calmest: str, price: Price | None, mix: Mix) -> tuple[Plot, ...]:
    """All figures; `busiest` and `calmest` are the load points that they speak of. Without a price there is no cost."""

    def rate_of(cell: CellMetrics) -> Estimate | None:
        return throughput(cell, mix)

    rate = Axis("throughput", rate_of, "output tokens per second", False, each_drawn(rate_of, rate_draws), busiest)
    accuracy = Axis("accuracy", accuracy_percent, "mean accuracy, %", False, accuracy_draws)
    memory = Axis("memory", needed_gib, "needed memory, GiB", True, each_drawn(needed_gib, mean_draws))
    latency = Axis("latency", latency_seconds, "median end-to-end latency, s", True, _latencies)
    size = Axis("bits", bits_per_weight, "bits per weight", True, each_drawn(bits_per_weight, mean_draws))
    against = "perplexity ÷ own baseline's"
    perplexity = Axis(
        "perplexity", lambda cell: cell.perplexity_ratio, against, True, each_drawn(_log_ratio, mean_draws)
    )
    charts = [
        Plot("accuracy-throughput", "Accuracy against throughput", rate, accuracy),
        Plot("memory-throughput", "Memory against throughput", rate, memory),
        Plot("accuracy-latency", f"Accuracy against latency at {calmest}", latency, accuracy),
        Plot("perplexity-size", "Perplexity against size", size, perplexity),
    ]
    if price is not None:
        label = f"{price.currency} per million output tokens"
        cost = Axis("cost", _cost_of(price, rate_of), label, True, _negative(rate_of), busiest)
        charts.append(Plot("accuracy-cost", "Accuracy against cost", cost, accuracy))
    return tuple(charts)


def oriented(cells: Sequence[CellMetrics], plot: Plot) -> list[Point]:
    """The cells that have both values, with axes turned so that more is better."""
    points = []
    for cell in cells:
        x, y = plot.x.read(cell), plot.y.read(cell)
        if x is not None and y is not None:
            points.append(Point(cell.trial.key, cell.trial.name, _turn(x, plot.x.less), _turn(y, plot.y.less)))
    return points


def _turn(estimate: Estimate, less_is_better: bool) -> Estimate:
    return estimate.map(lambda value: -value) if less_is_better else estimate


@dataclass(frozen=True)
class Standing:
    """One cell on one frontier: on it by values; `odds`, the share of draws in which it is on it
    (`frontier_probability`), None where an interval of its numbers is not known; dominated where it is off it by values
    and that share, as it is printed, is below 5 %.
    """

    name: str
    model: str
    on: bool
    odds: float | None

    @property
    def dominated(self) -> bool:
        return not self.on and self.odds is not None and self.odds < THRESHOLDS["dominated_below"]


@dataclass(frozen=True)
class Frontier:
    """One plot with the standing of each cell that may win something."""

    plot: Plot
    standings: tuple[Standing, ...]

    @property
    def on(self) -> list[str]:
        """By values."""
        return [standing.name for standing in self.standings if standing.on]

    @property
    def open(self) -> list[str]:
        """Off it, but not certainly."""
        return [standing.name for standing in self.standings if not standing.on and not standing.dominated]


def frontiers_of(
    model: str, models: Sequence[str], allowed: Sequence[CellMetrics], price: Price | None, mix: Mix
) -> list[Frontier]:
    """Of one of the models' cells."""
    own = frontiers([cell for cell in allowed if cell.trial.model == model], price, mix)
    return [replace(front, plot=of_model(front.plot, model, models)) for front in own]


def of_model(plot: Plot, model: str, models: Sequence[str]) -> Plot:
    """Named after the model where there are several."""
    if len(models) < 2:
        return plot
    label = model_labels(models)[model]
    return replace(plot, name=f"{plot.name}-{models.index(model) + 1}", title=f"{plot.title}: {label}")


def frontiers(allowed: Sequence[CellMetrics], price: Price | None = None, mix: Mix | None = None) -> list[Frontier]:
    """Of the cells that fail no limit and are trusted; the same seed for all. None where no cell has both values."""
    if not allowed:
        return []
    busiest = mix_label([load.label for load in mix]) if mix else allowed[0].busiest.load.label
    return frontiers_on(allowed, plots(busiest, allowed[0].calmest.load.label, price, mix or {}))


def frontiers_on(allowed: Sequence[CellMetrics], wanted: Sequence[Plot]) -> list[Frontier]:
    """On these plots, with each axis drawn once; none of a plot on which no cell has both values."""
    drawn = _Drawn({})
    return [front for front in (_frontier(allowed, plot, drawn) for plot in wanted) if front.standings]


def text_plot(busiest: str, bytes_per_token: Mapping[str, float]) -> Plot:
    """Across models: tokens of two vocabularies hold unlike amounts of text, and each model's own baseline is no
    measure of another.
    """

    def rate_of(cell: CellMetrics) -> Estimate | None:
        size = bytes_per_token.get(cell.trial.model)
        return cell.busiest.output_rate.map(lambda tokens: tokens * size) if size and cell.loads else None

    rate = Axis("textRate", rate_of, "bytes of text per second", False, each_drawn(rate_of, rate_draws), busiest)
    accuracy = Axis("accuracy", accuracy_percent, "mean accuracy, %", False, accuracy_draws)
    return Plot("accuracy-text", "Accuracy against text, all models", rate, accuracy)


def across_models(allowed: Sequence[CellMetrics], bytes_per_token: Mapping[str, float]) -> list[Frontier]:
    """Of the cells of all models; none where there is one model, or one whose tokens' size is not known."""
    models = {cell.trial.model for cell in allowed}
    if len(models) < 2 or not models <= bytes_per_token.keys():
        return []
    front = _frontier(allowed, text_plot(allowed[0].busiest.load.label, bytes_per_token), _Drawn({}))
    return [front] if front.standings else []


@dataclass(frozen=True)
class _Drawn:
    """Each axis is drawn once of the same cells, independently of the others."""

    cache: dict[tuple[str, ...], Floats]

    def of(self, axis: Axis, cells: Sequence[CellMetrics]) -> Floats:
        """More is better."""
        key = (axis.name, *(cell.trial.key for cell in cells))
        if key not in self.cache:
            drawn = axis.draw(cells, np.random.default_rng(zlib.crc32(axis.name.encode())))
            self.cache[key] = -drawn if axis.less else drawn
        return self.cache[key]


def _frontier(allowed: Sequence[CellMetrics], plot: Plot, drawn: _Drawn) -> Frontier:
    points = oriented(allowed, plot)
    keys = {point.key for point in points}
    cells = [cell for cell in allowed if cell.trial.key in keys]
    if not cells:
        return Frontier(plot, ())
    x, y = (drawn.of(axis, cells) for axis in (plot.x, plot.y))
    best = {point.key for point in frontier(points)}
    return Frontier(
        plot,
        tuple(
            Standing(cell.trial.name, cell.trial.model, cell.trial.key in best, None if math.isnan(odds) else odds)
            for cell, odds in zip(cells, frontier_odds(x, y).tolist(), strict=True)
        ),
    )
