"""Draws of the cells' means, and what choosing one of them gives away.

Of cells that differ by chance the first one would be named too fast (the winner's curse). So the cells are drawn
towards the middle of their field, by as much as their spread says (Morris, Parametric empirical Bayes inference, JASA
78, 1983; here with a prior for the field's spread instead of an estimate). The field has the tails of Student's t: a
cell that is far from the others stays there (O'Hagan, On outlier rejection phenomena in Bayes inference, JRSS B 41,
1979).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from evals.rounds.best import Bounds
from evals.rounds.block_model import BlockFit, Flags
from evals.stats.intervals import Floats, Labels

DRAWS = 4000
TAIL = 0.03
LEAST_CELLS = 4  # of fewer nothing can be learnt of their field
FIELD_DEGREES = 2.0  # of its Student's t
# the field's variance in those of a cell's error, uniform in the share by which cells are drawn to the middle of it
SPREADS = (1 - (SHARES := (np.arange(40) + 0.5) / 40)) / SHARES
# that t as a mixture of normals, by quantiles of its variances
MIXTURE = FIELD_DEGREES / special.chdtri(FIELD_DEGREES, 1 - (np.arange(8) + 0.5) / 8)


def mean_draws(fit: BlockFit, generator: np.random.Generator, draws: int = DRAWS) -> Floats:
    """Draws of the logarithmic means, shape (draws, …, cells)."""
    cells = fit.means.shape[-1]
    scale = fit.scale * np.sqrt(fit.degrees / generator.chisquare(fit.degrees, (draws, *fit.degrees.shape)))
    values, vectors = np.linalg.eigh((fit.unscaled + np.swapaxes(fit.unscaled, -1, -2)) / 2)
    root = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
    errors = np.einsum("...ij,d...j->d...i", root, generator.standard_normal((draws, *fit.means.shape)))
    errors *= scale[..., None]
    if cells < LEAST_CELLS:
        unpulled: Floats = fit.means + errors
        return unpulled
    shared = errors.mean(axis=-1, keepdims=True)
    centred = np.eye(cells) - 1 / cells
    each = np.diagonal(centred @ fit.unscaled @ centred, axis1=-2, axis2=-1) * cells / (cells - 1)
    own = each * fit.scale[..., None] ** 2
    field = _field_draws(fit.means, own, generator, draws)
    pull = own / (own + field)
    precision = 1 / (own + field)
    total = precision.sum(axis=-1, keepdims=True)
    centre = (precision * fit.means).sum(axis=-1, keepdims=True) / total
    centre += generator.standard_normal(centre.shape) / np.sqrt(total)
    drawn: Floats = shared + fit.means - pull * (fit.means - centre) + np.sqrt(1 - pull) * (errors - shared)
    return drawn


def _field_draws(means: Floats, own: Floats, generator: np.random.Generator, draws: int) -> Floats:
    """Draws of the field's variance at each cell, shape (draws, …, cells), by a grid of spreads and of the mixture."""
    apart = means - np.median(means, axis=-1, keepdims=True)
    spreads = own.mean(axis=-1)[..., None] * SPREADS
    variances = own[..., None, None] + spreads[..., None, :, None] * MIXTURE
    logs = -(apart[..., None, None] ** 2) / (2 * variances) - np.log(variances) / 2
    likelihood = np.exp(logs - logs.max(axis=(-2, -1), keepdims=True))  # a cell may be thousands of errors away
    of_spread = np.log(np.maximum(likelihood.mean(axis=-1), np.finfo(np.float64).tiny)).sum(axis=-2)
    weight = np.exp(of_spread - of_spread.max(axis=-1, keepdims=True)).cumsum(axis=-1)
    level = generator.random((draws, *weight.shape[:-1], 1)) * weight[..., -1:]
    spread = (level > weight).sum(axis=-1)[..., None, None, None]
    weight = np.take_along_axis(likelihood.cumsum(axis=-1)[None], spread, axis=-2)[..., 0, :]
    level = generator.random((*weight.shape[:-1], 1)) * weight[..., -1:]
    widened = MIXTURE[(level > weight).sum(axis=-1)]
    variances_drawn: Floats = widened * np.take_along_axis(spreads[None], spread[..., 0, 0], axis=-1)
    return variances_drawn


@dataclass(frozen=True)
class Choice:
    """What is known of choosing each cell, shape (…, cells): the probability that it may win and is the best of those
    that may; that it is the best of them if it may (`fastest`); and if it may, the share of speed that it is expected
    to give away against the best of them, and what it gives away in one of twenty cases.
    """

    best: Floats
    fastest: Floats
    regret: Floats
    regret_95: Floats


def choices(draws: Floats, may_win: Flags | None = None) -> Choice:
    """By draws of all cells, shape (draws, …, cells), whose larger values are better, and by draws of which may win
    (the same shape; all, where none are given). Each cell must be one that may in some draw.
    """
    may_win = np.ones(draws.shape, dtype=bool) if may_win is None else may_win
    best = np.where(may_win, draws, -np.inf).max(axis=-1, keepdims=True)
    lost = np.where(may_win, -np.expm1(draws - best), np.nan)
    wins = lost <= 0
    return Choice(
        best=wins.mean(axis=0),
        fastest=wins.sum(axis=0) / may_win.sum(axis=0),
        regret=np.nanmean(lost, axis=0),
        regret_95=np.nanquantile(lost, 0.95, axis=0),
    )


def chosen_bounds(fit: BlockFit, draws: Floats, chosen: Labels) -> Bounds:
    """Of the logarithmic mean of one cell of each race, shape (…), chosen (…) by its place in the race.

    A cell may be first by luck, so the lower end is the smaller of that by the draws, which take that back, and that by
    the visits alone; the upper end is by the visits alone, or it would be too low for a cell that is far ahead. Either
    is missed in TAIL of cases at most; a cell seldom misses both ways, so 94 to 98 % hold.
    """
    place = chosen[..., None]
    own = np.sqrt(np.diagonal(fit.unscaled, axis1=-2, axis2=-1)) * fit.scale[..., None]
    half = -special.stdtrit(fit.degrees, TAIL) * np.take_along_axis(own, place, axis=-1)[..., 0]
    mean = np.take_along_axis(fit.means, place, axis=-1)[..., 0]
    lucky = np.quantile(np.take_along_axis(draws, place[None], axis=-1)[..., 0], TAIL, axis=0)
    return Bounds(np.minimum(lucky, mean - half), mean + half)
