"""Simultaneous intervals of one race: each cell against the best of the others.

Comparisons with the best are Hsu's (Multiple Comparisons, 1996, chapter 4): the unknown best stands in for a control,
so the critical values are Dunnett's, one-sided, for each cell as the control.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evals.rounds.block_model import BlockFit, Flags
from evals.rounds.critical_values import drawn_errors, largest_t
from evals.stats.intervals import Floats


@dataclass(frozen=True)
class Bounds:
    """Lower and upper bounds of logarithms, all of which hold together with the stated probability."""

    low: Floats
    high: Floats


@dataclass(frozen=True)
class AgainstTheBest:
    """Hsu's intervals of each cell's logarithmic mean less that of the best *other* one, shape (cells,): `low` ≤ 0 ≤
    `high`. A cell whose `high` is 0 is behind another; one whose `low` is 0 is behind none.
    """

    low: Floats
    high: Floats

    @property
    def may_be_best(self) -> Flags:
        """Hsu's set: it holds the best cell with the stated probability."""
        return self.high > 0


def against_the_best(fit: BlockFit, alpha: float = 0.05) -> AgainstTheBest:
    """Of figures whose larger values are better; a single cell is the best."""
    cells = len(fit.means)
    if cells == 1:
        return AgainstTheBest(np.zeros(1), np.full(1, np.inf))
    others = ~np.eye(cells, dtype=bool)
    errors, standard, differences = drawn_errors(fit), fit.standard_errors(), fit.differences()
    critical = np.array(
        [
            largest_t(errors[:, others[cell]] - errors[:, [cell]], standard[cell, others[cell]] / fit.scale, alpha)
            for cell in range(cells)
        ]
    )
    high = np.where(others, differences + critical[:, None] * standard, np.inf).min(axis=1).clip(min=0.0)
    rivals = others & (high > 0)[None, :]
    low = np.where(rivals, differences - critical[None, :] * standard, np.inf).min(axis=1).clip(max=0.0)
    return AgainstTheBest(low, high)
