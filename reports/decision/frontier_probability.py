"""How likely each cell is on a frontier, given how uncertain its numbers are.

All cells are drawn many times as they might have been measured, and those on the frontier of each draw are counted. The
three kinds of numbers are drawn as their intervals are made:

- a mean over repeats from Student's t distribution around it (n − 1 degrees of freedom, standard error of the repeats):
  repeats are too few for a bootstrap, of which three have ten outcomes;
- a median of requests by a bootstrap over them (Efron and Tibshirani, An Introduction to the Bootstrap, 1993);
- accuracies by a bootstrap over questions, the same ones for all cells, since they answer the same: weights are
  Poisson's with mean 1 (Chamandy et al., Estimating uncertainty for massive data streams, 2012), one for a passage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from evals.metrics.steady_state import steady
from evals.schema.trial import Trial
from evals.stats.intervals import Floats
from evals.stats.paired_items import ACCURACY_METRICS, Items, matched, trial_items
from reports.metrics.cell import CellMetrics
from reports.metrics.ratios import DRAWS, Generator


def frontier_odds(x: Floats, y: Floats) -> Floats:
    """The share of draws in which each cell is on the frontier: shape (cells,), from (cells, draws) of two axes on
    which more is better. A cell with a value that is no number in some draw has NaN, and dominates nothing there.
    """
    if not len(x):
        return np.empty(0)
    known = np.isfinite(x) & np.isfinite(y)
    on = _undominated(np.where(known, x, -np.inf).T, np.where(known, y, -np.inf).T).T & known
    return np.where(known.all(axis=1), on.mean(axis=1), np.nan)


def _undominated(x: Floats, y: Floats) -> npt.NDArray[np.bool_]:
    """Of each row on its own, which of its cells no other dominates (`reports.decision.pareto.frontier`), in n log
    n.
    """
    order = np.argsort(-x, axis=-1)  # best x first
    xs = np.take_along_axis(x, order, -1)
    if (xs[:, 1:] == xs[:, :-1]).any():
        order = np.lexsort((-y, -x), axis=-1)  # of equal ones best y; takes five times as long
        xs = np.take_along_axis(x, order, -1)
    ys = np.take_along_axis(y, order, -1)
    highest = np.maximum.accumulate(ys, axis=-1)
    before = np.concatenate([np.full((len(ys), 1), -np.inf), highest[:, :-1]], axis=-1)
    places = np.where(ys > before, np.arange(ys.shape[1]), 0)
    # where the highest y so far was reached first, with the best x of those that have it
    first_x = np.take_along_axis(xs, np.maximum.accumulate(places, axis=-1), -1)
    on = (ys > before) | ((ys == before) & (first_x == xs))
    result: npt.NDArray[np.bool_] = np.empty_like(on)
    np.put_along_axis(result, order, on, -1)
    return result


def latency_draws(cell: CellMetrics, generator: Generator, draws: int = DRAWS) -> Floats:
    """Of the median end-to-end latency (seconds) at the calmest load."""
    speed = next(candidate for candidate in cell.trial.speed if candidate.load == cell.calmest.load)
    values = np.asarray([request.end_seconds - request.start_seconds for request in steady(speed).ended])
    if len(values) < 2:
        return np.full(draws, np.nan)
    return _median_draws(np.sort(values), generator, draws)


def _median_draws(ordered: Floats, generator: Generator, draws: int) -> Floats:
    """Of the median of a resample, without drawing the resample: its middle places are order statistics of uniform
    numbers, of Beta's distribution (David and Nagaraja, Order Statistics, 2003, chapter 2).
    """
    count = len(ordered)
    lower = (count + 1) // 2
    first = generator.beta(lower, count + 1 - lower, draws)
    second = first if count % 2 else 1 - (1 - first) * generator.random(draws) ** (1 / (count - lower))
    places = [np.minimum((count * fraction).astype(np.int64), count - 1) for fraction in (first, second)]
    medians: Floats = (ordered[places[0]] + ordered[places[1]]) / 2
    return medians


def accuracy_draws(cells: Sequence[CellMetrics], generator: Generator, draws: int = DRAWS) -> Floats:
    """Of the mean accuracy over tasks of all cells: shape (cells, draws); NaN where a cell has no accuracy."""
    items = {cell.trial.key: _accuracy_items(cell.trial) for cell in cells}
    bases = {cell.baseline.key: _accuracy_items(cell.baseline) for cell in cells if cell.baseline}
    sums, counts = np.zeros((len(cells), draws)), np.zeros(len(cells))
    for task in dict.fromkeys(task for by_task in items.values() for task in by_task):
        units = _units([by_task[task] for by_task in (*items.values(), *bases.values()) if task in by_task])
        weights = generator.poisson(1.0, (draws, len({*units.values()}))).astype(np.float64)
        for row, cell in enumerate(cells):
            if task in items[cell.trial.key]:
                base = bases[cell.baseline.key].get(task) if cell.baseline else None
                sums[row] += _drawn(items[cell.trial.key][task], base, units, weights)
                counts[row] += 1
    return np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], np.nan)


def _accuracy_items(trial: Trial) -> dict[str, Items]:
    return {task: items for task, items in trial_items(trial).items() if items.metric in ACCURACY_METRICS}


def _units(items: Sequence[Items]) -> dict[str, int]:
    """The number of what is drawn as one by item: its passage where it has one, else the item alone."""
    names = {key: cluster or key for item in items for key, cluster in zip(item.keys, item.clusters, strict=True)}
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names.values()))}
    return {key: numbers[name] for key, name in names.items()}


def _drawn(items: Items, base: Items | None, units: Mapping[str, int], weights: Floats) -> Floats:
    """A task's accuracy in each draw; where a budget stopped, the baseline's of all items and the difference on some
    (`reports.metrics.task_accuracy.difference_estimate`).
    """
    pairs = matched(items, base) if base is not None and len(items.values) < items.drawn else None
    if pairs is None or base is None:
        return _weighted(items.values, np.ones(len(items.values)), items.keys, units, weights)
    base_mean = _weighted(base.values, np.ones(len(base.values)), base.keys, units, weights)
    differences = [ours - theirs for ours, theirs in zip(pairs.candidate, pairs.baseline, strict=True)]
    return base_mean + _weighted(differences, np.asarray(pairs.weights), pairs.keys, units, weights)


def _weighted(
    values: Sequence[float], shares: Floats, keys: Sequence[str], units: Mapping[str, int], weights: Floats
) -> Floats:
    """Σ weight × share × value ÷ Σ weight × share, in each draw."""
    places = np.asarray([units[key] for key in keys])
    top = np.bincount(places, np.asarray(values, dtype=np.float64) * shares, weights.shape[1])
    bottom = np.bincount(places, shares, weights.shape[1])
    means: Floats = (weights @ top) / np.maximum(weights @ bottom, 1e-12)
    return means
