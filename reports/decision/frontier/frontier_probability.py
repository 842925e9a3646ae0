"""How likely each cell is on a frontier, given how uncertain its numbers are.

All cells are drawn many times as they might have been measured, and those on the frontier of each draw are counted. The
three kinds of numbers are drawn as their intervals are made:

- a mean over repeats from Student's t distribution around it (n − 1 degrees of freedom, standard error of the repeats):
  repeats are too few for a bootstrap, of which three have ten outcomes;
- a median of requests by a bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993) of as many as they
  are worth, by waves and repeats;
- accuracies from what is known of flips: a task's lost, gained and other answers from Dirichlet(lost + 1, gained + 1,
  same + 1), the posterior under a flat prior, so that few flips, or none, leave open what they leave open. Jeffreys'
  prior (½) was tried too: of 100 questions it says 70 % where 61 are true (`benchmarks/calibration/frontier.py`).

A Dirichlet's shares are gamma variables, one unit of shape for each question: one exponential weight for each question
(the Bayesian bootstrap: Rubin, Annals of Statistics 9, 1981), the same for all cells, since they answer the same, plus
a weight of shape 1 for each kind of flip, of each cell's own. Questions that share a passage share a weight, and the 1
counts as many questions as say what one says alone (the design effect of the first trial's answers): that is what
deflates their counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evals.metrics.steady_state import e2e, steady
from evals.stats.intervals import Floats, percentile_interval
from evals.stats.paired_items import Items, matched, trial_items
from evals.stats.passages import design_effect
from reports.decision.frontier.pareto import undominated
from reports.metrics.cell import CellMetrics
from reports.metrics.ratios import DRAWS, Generator, rate_draws

FLAT = 1.0  # shape of the flat prior of each kind of answer
FLIPS, ANSWERS = (1.0, -1.0, 0.0), (1.0, 0.0)  # what is added to an accuracy: gained, lost, same; right, wrong


def frontier_odds(x: Floats, y: Floats) -> Floats:
    """The share of draws in which each cell is on the frontier: shape (cells,), from (cells, draws) of two axes on
    which more is better. A cell with a value that is no number in some draw has NaN, and dominates nothing there.
    """
    if not len(x):
        return np.empty(0)
    known = np.isfinite(x) & np.isfinite(y)
    on = undominated(np.where(known, x, -np.inf).T, np.where(known, y, -np.inf).T).T & known
    return np.where(known.all(axis=1), on.mean(axis=1), np.nan)


def latency_draws(cell: CellMetrics, generator: Generator, draws: int = DRAWS) -> Floats:
    """Of the median end-to-end latency (seconds) at the calmest load."""
    speed = next(speed for speed in cell.trial.speed if speed.load == cell.calmest.load)
    if len(set(speed.rounds)) > 1 and cell.calmest.compared_e2e:
        return rate_draws(cell.calmest.compared_e2e, generator, draws)
    sample = steady(speed).of_ended(e2e)
    if len(sample.values) < 2:
        return np.full(draws, np.nan)
    return _median_draws(np.sort(sample.values), percentile_interval(sample, 50).count, generator, draws)


def _median_draws(ordered: Floats, worth: int, generator: Generator, draws: int) -> Floats:
    """Of the median of a resample of as many values as those in order are worth, without drawing the resample: its
    middle places are order statistics of uniform numbers, of Beta's distribution (David and Nagaraja, Order Statistics,
    2003, chapter 2).
    """
    lower = (worth + 1) // 2
    first = generator.beta(lower, worth + 1 - lower, draws)
    second = first if worth % 2 else 1 - (1 - first) * generator.random(draws) ** (1 / (worth - lower))
    places = [np.minimum((len(ordered) * fraction).astype(np.int64), len(ordered) - 1) for fraction in (first, second)]
    medians: Floats = (ordered[places[0]] + ordered[places[1]]) / 2
    return medians


def accuracy_draws(cells: Sequence[CellMetrics], generator: Generator, draws: int = DRAWS) -> Floats:
    """Of the mean accuracy over tasks of all cells: shape (cells, draws); NaN where a cell has no accuracy."""
    trials = {trial.key: trial for cell in cells for trial in (cell.baseline, cell.trial) if trial}
    items = {
        key: {task: given for task, given in trial_items(trial).items() if given.is_accuracy}
        for key, trial in trials.items()
    }
    bases = {cell.trial.key: cell.baseline.key for cell in cells if cell.baseline}
    sums, counts = np.zeros((len(cells), draws)), np.zeros(len(cells))
    for task in dict.fromkeys(task for cell in cells for task in items[cell.trial.key]):
        asked = {key: by_task[task] for key, by_task in items.items() if task in by_task}
        drawn = _TaskDraws(asked, bases, generator, draws)
        for row, cell in enumerate(cells):
            if cell.trial.key in asked:
                sums[row] += drawn.accuracy(cell.trial.key)
                counts[row] += 1
    return np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], np.nan)


class _TaskDraws:
    """One task's accuracy of each trial, drawn once: a cell's from its baseline's, a baseline's from the first's."""

    def __init__(self, items: Mapping[str, Items], bases: Mapping[str, str], generator: Generator, draws: int) -> None:
        self.items, self.bases, self.generator = items, bases, generator
        # an item's passage is drawn as one where it has one, else the item alone
        names = {
            key: cluster or key
            for given in items.values()
            for key, cluster in zip(given.keys, given.clusters, strict=True)
        }
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names.values()))}
        self.units = {key: numbers[name] for key, name in names.items()}
        self.weights = generator.standard_exponential((draws, len({*self.units.values()})))
        self.first = next(iter(items))
        self.crowding = self._crowding(items[self.first])
        self.cache: dict[str, Floats] = {}

    def accuracy(self, key: str) -> Floats:
        if key not in self.cache:
            self.cache[key] = self._drawn(key)
        return self.cache[key]

    def _drawn(self, key: str) -> Floats:
        base = self.bases.get(key, key)
        base = self.first if base == key or base not in self.items else base
        pairs = matched(self.items[key], self.items[base]) if base != key else None
        if pairs is None:
            items = self.items[key]
            return self._weighted(items.values, (1.0,) * len(items.values), items.keys, ANSWERS if items.binary else ())
        differences = np.subtract(pairs.candidate, pairs.baseline)
        binary = self.items[key].binary and self.items[base].binary
        return self.accuracy(base) + self._weighted(differences, pairs.weights, pairs.keys, FLIPS if binary else ())

    def _crowding(self, items: Items) -> float:
        """How many of these items say what an independent one says."""
        passages = np.unique([self.units[key] for key in items.keys], return_inverse=True)[1]
        count = int(passages.max()) + 1
        if count == len(passages) or not items.binary:
            return 1.0
        if count == 1:
            return float(len(passages))
        return design_effect(np.asarray(items.values, dtype=np.float64), passages.astype(np.int64))

    def _weighted(
        self, values: Sequence[float] | Floats, shares: Sequence[float], keys: Sequence[str], kinds: Sequence[float]
    ) -> Floats:
        """Σ weight × share × value ÷ Σ weight × share in each draw, with one unseen unit for each of the values
        (`kinds`) that an item may have.
        """
        places, many = np.asarray([self.units[key] for key in keys]), self.weights.shape[1]
        sizes = np.bincount(places, shares, many)
        top = self.weights @ np.bincount(places, np.asarray(values) * np.asarray(shares), many)
        bottom = self.weights @ sizes
        typical = float(np.square(shares).sum() / np.sum(shares))  # how many items one of them stands for
        unseen = typical * self.crowding * self.generator.standard_gamma(FLAT, (len(kinds), len(bottom)))
        means: Floats = (top + np.asarray(kinds, dtype=np.float64) @ unseen) / (bottom + unseen.sum(axis=0))
        return means
