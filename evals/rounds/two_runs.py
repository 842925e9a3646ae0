"""Cells of one run against the same cells of an earlier one.

No block holds visits of both runs, so what the machine did to one of them as a whole (another day, neighbours, clocks)
is in the change of every cell alike: log change = common to all cells + the cell's own + error. The own part is a
difference in differences (Angrist and Pischke, Mostly Harmless Econometrics, 2009, chapter 5): a cell's change less
what the other cells have in common, in which the machine cancels out. That is a robust mean, so that a few of them may
have changed themselves; their spread says what a run does to one cell and not to another.

The common part is seen once a comparison, as the machine's and the program's together. It is more than the machine
where it is larger than what a machine is known to do (`OF_A_RUN`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from evals.rounds.block_model import LEAST_SCALE, Flags, NoisePrior
from evals.stats.intervals import Floats

STEPS = 30
CUT = 1.5  # scales from which a cell's influence on what all have in common grows no further
NORMAL_SHARE = float(special.chdtr(3, CUT**2) + CUT**2 * special.chdtrc(1, CUT**2))  # E[min(|z|, CUT)²]
# What is known of the logarithm of a change before the other cells are looked at: of one cell and not of another, by
# rounds, and by one server a cell and run, which is off by 5.5 %; of a whole run, which is off by 7 %.
OF_A_CELL = NoisePrior(2 * 0.025**2, 3.0)
OF_A_SERVER = NoisePrior(2 * 0.055**2, 3.0)
OF_A_RUN = NoisePrior(2 * 0.07**2, 4.0)


@dataclass(frozen=True)
class Changes:
    """Logarithms of changes with the variances of their errors and the degrees of freedom of these, all one shape."""

    values: Floats
    variances: Floats
    degrees: Floats

    def p_values(self, least: float) -> Floats:
        """Two-sided, of each being the logarithm `least`."""
        errors = np.sqrt(np.maximum(self.variances, LEAST_SCALE**2))
        p: Floats = 2 * special.stdtr(self.degrees, -np.abs(self.values - least) / errors)
        return p

    def with_error(self, variance: Floats | float, degrees: Floats | float) -> Changes:
        """With one more independent error. Degrees of freedom by Satterthwaite (Biometrics Bulletin 2, 1946)."""
        total = np.maximum(self.variances + variance, LEAST_SCALE**2)
        squares = self.variances**2 / self.degrees + np.square(variance) / degrees
        return Changes(self.values, total, total**2 / np.maximum(squares, LEAST_SCALE**4))


@dataclass(frozen=True)
class Common:
    """What changes have in common, `worth` so many of them; `errors` is the mean variance that visits leave in each,
    and `between`, known with so many `degrees` of freedom, that of what a run does to one cell and not to another.
    """

    values: Floats
    worth: Floats
    errors: Floats
    between: Floats
    degrees: Floats


def common_change(changes: Floats, errors: Floats, among: Flags, prior: NoisePrior) -> Common:
    """The robust mean of the changes `among` (…, cells), at least one of them, and their spread: Huber's second
    proposal (see `block_model.fit_blocks`). `errors` are variances; the `prior` is of what comes to them.
    """
    count = among.sum(axis=-1)
    own = np.where(among, errors, 0.0).sum(axis=-1) / count
    degrees = np.asarray(count - 1 + prior.degrees, dtype=np.float64)
    middle = np.nanmedian(np.where(among, changes, np.nan), axis=-1)
    between = np.broadcast_to(np.asarray(prior.variance, dtype=np.float64), middle.shape)
    left = np.sqrt(np.maximum((count - 1) / count, LEAST_SCALE))  # of an error, in the residual
    weights = among.astype(np.float64)
    for _ in range(STEPS):
        apart = np.where(among, np.abs(changes - middle[..., None]), 0.0)
        limit = np.maximum(CUT * np.sqrt(own + between) * left, LEAST_SCALE)[..., None]
        squares = (np.minimum(apart, limit) ** 2).sum(axis=-1) / NORMAL_SHARE - (count - 1) * own
        between = np.maximum((squares + prior.degrees * prior.variance) / degrees, 0.0)
        weights = np.where(among, np.minimum(1.0, limit / np.maximum(apart, LEAST_SCALE)), 0.0)
        middle = (weights * np.where(among, changes, 0.0)).sum(axis=-1) / weights.sum(axis=-1)
    return Common(middle, weights.sum(axis=-1), own, between, degrees)


def of_others(changes: Floats, errors: Floats, references: Flags, prior: NoisePrior) -> Common:
    """What all other cells that are `references` (cells,) have in common, for each cell; all others, where none is.

    Two cells at least.
    """
    apart = ~np.eye(changes.shape[-1], dtype=bool)
    among = apart & references
    among = np.where(among.any(axis=-1, keepdims=True), among, apart)
    shape = (*changes.shape, changes.shape[-1])
    of_all, of_visits = (np.broadcast_to(values[..., None, :], shape) for values in (changes, errors))
    return common_change(of_all, of_visits, np.broadcast_to(among, shape), prior)


def relative_changes(own: Changes, others: Common) -> Changes:
    """Each cell's change less what the others have in common. `own` has no errors but those of the cell's visits."""
    return Changes(own.values - others.values, own.variances + others.errors / others.worth, own.degrees).with_error(
        others.between * (1 + 1 / others.worth), others.degrees
    )


def p_of_verdicts(relative: Changes, absolute: Changes, least: float, both: Flags) -> Floats:
    """Of each cell, that neither verdict is right; the verdict is by the side of `least` on which `relative` lies.

    Slower is who is slower than the others; where they may have changed themselves (`both`), who is slower as it is,
    too. As fast is who is so in both ways (an intersection of hypotheses: Berger, Technometrics 24, 1982).
    """
    slower = relative.values < least
    agree = slower == (absolute.values < least)
    p, p_absolute = relative.p_values(least), absolute.p_values(least)
    chosen: Floats = np.where(slower & ~both, p, np.where(agree, np.maximum(p, p_absolute), 1.0))
    return chosen
