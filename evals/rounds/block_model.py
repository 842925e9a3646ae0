"""One model for the speeds of all cells: log speed = cell + block + error.

A *visit* is one session of a cell (fresh server, warm-up, every load), a *block* what was visited in one round on one
host. What makes a whole machine slower for a while belongs to the block, and cells are compared within blocks (Box,
Hunter and Hunter, Statistics for Experimenters, 2005, chapter 4). Errors have one variance for all cells: six cells in
three rounds leave ten degrees of freedom, not two a cell.

A *table* holds natural logarithms, shape (…, cells, blocks), NaN where a cell was not visited. Leading axes are races
of their own, judged at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

from evals.stats.intervals import Floats
from quant.errors import BitfrontierError

Flags = npt.NDArray[np.bool_]
HUBER = 2.0  # scales from which an error's influence grows no further; 95 % of normal errors are smaller
# E[min(|z|, HUBER)²] of a standard normal z: with it the scale is right where nothing disturbs
NORMAL_SHARE = float(special.chdtr(3, HUBER**2) + HUBER**2 * special.chdtrc(1, HUBER**2))
MOST_STEPS = 50
TOLERANCE = 1e-5
LEAST_SCALE = 1e-9
MOST_LEARNT = 20.0  # degrees of freedom; of two sweeps or so
LEAST_SHARE = 1e-6  # the only visit of a block says nothing of errors


class NotEstimable(BitfrontierError):
    """The visits do not say how the cells compare."""


@dataclass(frozen=True)
class NoisePrior:
    """What is known of the errors before the first visit, as a scaled inverse χ²: their `variance` (of logarithms), as
    sure as if it had been estimated with so many `degrees` of freedom. Each may be an array over races.
    """

    variance: Floats | float
    degrees: Floats | float


NOTHING_KNOWN = NoisePrior(0.0, 0.0)


def learnt_noise(sweeps: Sequence[NoisePrior]) -> NoisePrior:
    """What earlier sweeps of a machine say of the next one's noise: their pooled variance, never surer than
    MOST_LEARNT degrees of freedom, for a machine's noise changes. Each sweep is a fit of its own visits alone (scale²
    and degrees, fitted without a prior), or the same visits would count twice.
    """
    degrees = float(sum(sweep.degrees for sweep in sweeps))
    if degrees <= 0:
        return NOTHING_KNOWN
    return NoisePrior(
        float(sum(sweep.degrees * sweep.variance for sweep in sweeps)) / degrees, min(degrees, MOST_LEARNT)
    )


@dataclass(frozen=True)
class BlockFit:
    """What the model says of each cell.

    `means` (…, cells) are logarithms of geometric means, as if every cell had been in every block. Blocks count by
    their visits, and these by Huber's weights: where only two cells were visited, nothing says which of them others
    disturbed, and such a block would be too slow. `unscaled` (…, cells, cells) is the means' covariance ÷ `scale`².
    `scale` (…) is the standard deviation of an error, known with so many `degrees` (…) of freedom, those of the prior
    among them.
    """

    means: Floats
    unscaled: Floats
    scale: Floats
    degrees: Floats

    def among(self, places: Sequence[int], *, less: bool = False) -> BlockFit:
        """Of these cells of one race alone, so that larger values are better: where `less` is, negated."""
        means = self.means[list(places)]
        return replace(self, means=-means if less else means, unscaled=self.unscaled[np.ix_(places, places)])

    def standard_errors(self) -> Floats:
        """Of the differences of all pairs of cells, shape (…, cells, cells)."""
        own = np.diagonal(self.unscaled, axis1=-2, axis2=-1)
        squares = own[..., :, None] + own[..., None, :] - 2 * self.unscaled
        errors: Floats = self.scale[..., None, None] * np.sqrt(np.maximum(squares, 0.0))
        return errors

    def differences(self) -> Floats:
        """Of the first cell to the second, shape (…, cells, cells)."""
        return self.means[..., :, None] - self.means[..., None, :]


def table(visits: Sequence[tuple[int, int, float]], cells: int) -> Floats:
    """A table from (cell, block, positive figure) of each visit, cells and blocks counted from 0. A later visit of a
    cell in the same block replaces the earlier one.
    """
    logs = np.full((cells, max((block for _, block, _ in visits), default=-1) + 1), np.nan)
    for cell, block, figure in visits:
        logs[cell, block] = np.log(figure)
    return logs


def without_disturbed(logs: Floats, disturbed: Flags) -> Floats:
    """The table without the visits that others on the machine disturbed: what they show is not the cell's. All visits
    of a cell stay where all were disturbed, and all of a table where those that are left would not say how its cells
    compare, or nothing of their noise.
    """
    seen = ~np.isnan(logs)
    spared = (seen & ~disturbed).any(axis=-1, keepdims=True)
    left = seen & ~(disturbed & spared)
    fitted = logs.shape[-2] - 1 + (left.any(axis=-2).sum(axis=-1) if logs.shape[-2] > 1 else 1)
    enough = _linked(left) & (left.sum(axis=(-2, -1)) > fitted)
    return np.where(left | ~np.asarray(enough)[..., None, None], logs, np.nan)


def fit_blocks(logs: Floats, prior: NoisePrior = NOTHING_KNOWN) -> BlockFit:
    """Fit a table by weighted least squares, with Huber's weights and the scale of his second proposal (Huber and
    Ronchetti, Robust Statistics, 2009, section 7.8), so that a visit beside a neighbour's burst weighs little.

    Raises NotEstimable where cells were in no block together, directly or by way of others, or where neither visits
    nor the prior say how large errors are.
    """
    if logs.shape[-2] == 1:
        return _one_cell(logs, prior)
    seen = ~np.isnan(logs)
    observed = np.where(seen, logs, 0.0)
    degrees = _degrees(seen)
    known = _known(degrees, prior)
    weights = seen.astype(np.float64)
    means, unscaled, fitted, leverage = _least_squares(observed, weights, seen)
    share = np.where(seen, 1 - leverage, 0.0)  # of an error's variance, what the fit leaves of it in the residual
    scale = np.full(logs.shape[:-2], np.inf)
    for _ in range(MOST_STEPS):
        errors = np.where(share > LEAST_SHARE, np.abs(observed - fitted) / np.sqrt(np.maximum(share, LEAST_SHARE)), 0.0)
        previous, scale = scale, _scale(errors, share, scale, degrees, prior)
        if (np.isfinite(previous) & (np.abs(scale - previous) <= TOLERANCE * scale)).all():
            break
        weights = np.where(seen, np.minimum(1.0, HUBER * scale[..., None, None] / np.maximum(errors, LEAST_SCALE)), 0.0)
        means, unscaled, fitted, _ = _least_squares(observed, weights, seen)
    return BlockFit(means, unscaled, scale, known)


def _one_cell(logs: Floats, prior: NoisePrior) -> BlockFit:
    """Nothing is compared, so what a round does to it is part of its noise."""
    visits = (~np.isnan(logs)).sum(axis=(-2, -1))
    degrees = np.asarray(visits - 1.0)
    known = _known(degrees, prior)
    means = np.nanmean(logs, axis=-1)
    squares = np.nansum((logs - means[..., None]) ** 2, axis=(-2, -1)) + prior.degrees * prior.variance
    scale = np.maximum(np.sqrt(squares / known), LEAST_SCALE)
    return BlockFit(means, np.asarray(1 / visits)[..., None, None], scale, known)


def _known(degrees: Floats, prior: NoisePrior) -> Floats:
    """Degrees of freedom of the noise, those of the prior among them."""
    known: Floats = np.asarray(degrees + prior.degrees, dtype=np.float64)
    if (known < 1).any():
        raise NotEstimable(
            f"the visits leave {float(known.min()):g} degrees of freedom for their noise (1). Make another round."
        )
    return known


def _degrees(seen: Flags) -> Floats:
    """Visits less what is fitted to them. Raises NotEstimable where cells were in no block together."""
    cells, visited = seen.shape[-2], seen.any(axis=-2)
    if not _linked(seen).all():
        raise NotEstimable(
            "some cells were never visited in one round on one host with the others, so their speeds cannot be "
            "compared. Visit all cells in the first round."
        )
    return np.asarray(seen.sum(axis=(-2, -1)) - (cells - 1) - visited.sum(axis=-1), dtype=np.float64)


def _linked(seen: Flags) -> Flags:
    """Of each table: whether every cell was in a block with every other, directly or by way of others."""
    linked = seen @ np.swapaxes(seen, -1, -2)
    for _ in range(seen.shape[-2].bit_length()):  # each step doubles how many cells a link may go by way of
        linked = linked @ linked
    return np.asarray(linked.all(axis=(-2, -1)))


def _least_squares(observed: Floats, weights: Floats, seen: Flags) -> tuple[Floats, Floats, Floats, Floats]:
    """The cells' means over all visits' blocks, their covariance for errors of variance 1, fitted logarithms,
    leverages.
    """
    cells, blocks = observed.shape[-2:]
    visited = seen.any(axis=-2)
    normal = np.zeros((*observed.shape[:-2], cells + blocks, cells + blocks))
    each = np.arange(cells + blocks)
    normal[..., each, each] = np.concatenate([weights.sum(axis=-1), weights.sum(axis=-2) + ~visited], axis=-1)
    normal[..., :cells, cells:] = weights
    normal[..., cells:, :cells] = np.swapaxes(weights, -1, -2)
    # what may be added to all cells and taken from all blocks is not determined, and not in what is returned either
    free = np.concatenate([np.ones((*visited.shape[:-1], cells)), -1.0 * visited], axis=-1)
    inverse = np.linalg.inv(normal + free[..., :, None] * free[..., None, :])
    weighted = weights * observed
    sums = np.concatenate([weighted.sum(axis=-1), weighted.sum(axis=-2)], axis=-1)
    effects = np.einsum("...ij,...j->...i", inverse, sums)
    to_means = np.zeros((*observed.shape[:-2], cells, cells + blocks))
    to_means[..., :cells, :cells] = np.eye(cells)
    worth = weights.sum(axis=-2)
    to_means[..., cells:] = (worth / worth.sum(axis=-1, keepdims=True))[..., None, :]
    means = np.einsum("...ij,...j->...i", to_means, effects)
    unscaled = to_means @ inverse @ np.swapaxes(to_means, -1, -2)
    fitted = effects[..., :cells, None] + effects[..., None, cells:]
    own = np.diagonal(inverse, axis1=-2, axis2=-1)
    leverage = weights * (own[..., :cells, None] + own[..., None, cells:] + 2 * inverse[..., :cells, cells:])
    return means, unscaled, fitted, leverage


def _scale(errors: Floats, share: Floats, scale: Floats, degrees: Floats, prior: NoisePrior) -> Floats:
    """Huber's second proposal (errors beyond HUBER × `scale` count as that), pooled with the prior."""
    cut = np.minimum(errors, HUBER * scale[..., None, None])
    normal = np.where(np.isfinite(scale), NORMAL_SHARE, 1.0)
    squares = (share * cut**2).sum(axis=(-2, -1)) / normal + prior.degrees * prior.variance
    pooled: Floats = np.maximum(np.sqrt(squares / (degrees + prior.degrees)), LEAST_SCALE)
    return pooled
