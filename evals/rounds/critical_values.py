"""Quantiles of the largest of several t statistics that share one scale: the multivariate t, by quasi-random points
(Genz and Bretz, Computation of Multivariate Normal and t Probabilities, 2009, chapter 4). An unbalanced covariance is
no special case.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy  # its parts are loaded where they are first used

from evals.rounds.block_model import BlockFit
from evals.stats.intervals import Floats

POINTS = 15  # as a power of two; critical values are then off by 0.01 at most
LEAST_POINTS, MOST_WORK = 11, 31  # of over 256 cells fewer, or a report of a thousand would take minutes


@lru_cache(maxsize=4)
def _points(cells: int, degrees: float) -> Floats:
    """Independent standard normal numbers ÷ one scale for all, shape (points, cells), the same at every call."""
    power = min(POINTS, max(LEAST_POINTS, int(MOST_WORK - 2 * np.log2(cells))))
    points = scipy.stats.qmc.Sobol(cells + 1, rng=np.random.default_rng(0)).random_base2(power)
    scales = np.sqrt(scipy.special.chdtri(degrees, 1 - points[:, -1:]) / degrees)
    scaled: Floats = scipy.special.ndtri(points[:, :-1]) / scales
    return scaled


def drawn_errors(fit: BlockFit) -> Floats:
    """Points of what the means of one race are off by, in scales that are as uncertain as its own: (points, cells)."""
    values, vectors = np.linalg.eigh((fit.unscaled + fit.unscaled.T) / 2)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    errors: Floats = _points(len(fit.means), float(fit.degrees)) @ root.T
    return errors


def largest_t(errors: Floats, standard_errors: Floats, alpha: float) -> float:
    """The (1 − alpha) quantile of the largest of the errors (points, statistics), each ÷ its own standard error."""
    return float(np.quantile((errors / standard_errors).max(axis=-1), 1 - alpha))
