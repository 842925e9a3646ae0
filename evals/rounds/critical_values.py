"""Quantiles of the largest of several t statistics that share one scale: multivariate t (Genz and Bretz, Computation of
Multivariate Normal and t Probabilities, 2009), by draws of a fixed seed. Unbalanced covariances are no special case.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from evals.rounds.block_model import BlockFit
from evals.stats.intervals import Floats

DRAWS = 100_000  # a critical value is off by 0.01 or less


@cache
def _normal(cells: int) -> Floats:
    """Standard normal numbers, shape (draws, cells), the same at every call."""
    return np.random.default_rng(0).standard_normal((DRAWS, cells))


@cache
def _chi(degrees: float) -> Floats:
    """√(χ² ÷ degrees), shape (draws,)."""
    return np.sqrt(np.random.default_rng(1).chisquare(degrees, DRAWS) / degrees)


def drawn_errors(fit: BlockFit) -> Floats:
    """Draws of what the means of one race are off by, in scales that are as uncertain as its own: (draws, cells)."""
    values, vectors = np.linalg.eigh((fit.unscaled + fit.unscaled.T) / 2)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    errors: Floats = _normal(len(fit.means)) @ root.T / _chi(float(fit.degrees))[:, None]
    return errors


def largest_t(errors: Floats, standard_errors: Floats, alpha: float) -> float:
    """The (1 − alpha) quantile of the largest of the errors (draws, statistics), each ÷ its own standard error."""
    return float(np.quantile((errors / standard_errors).max(axis=-1), 1 - alpha))
