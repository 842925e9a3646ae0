"""After which look which cell leaves, and when a race is over.

Only pairs are compared, each as if the two were alone. That is enough to name a winner: of tied cells the first is less
likely to lead *all* others by so much the more of them there are, so two tied cells, all others far behind, are the
hardest case (Gutmann and Maymin, Is the selected population the best?, Annals of Statistics 15, 1987; Hung and Fithian,
Rank verification for exponential families, Annals of Statistics 47, 2019). Dunnett's larger values, which Hsu's
intervals need to hold for all cells at once (`evals.rounds.best`), would decide fewer races at the same error rate.

Looks share the error rate by a boundary that is the same at each (Pocock, Biometrika 64, 1977), exact for looks that
see the same visits again; a look that is left out makes it the safer. Where the scale is estimated, the boundary's
significance is kept, not its value (Jennison and Turnbull, Group Sequential Methods, 2000, section 4.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import special

from evals.rounds.block_model import BlockFit, Flags
from evals.stats.intervals import Floats

WALKS = 100_000


@dataclass(frozen=True)
class RaceRules:
    """Of `rounds` at most, looked at after `first_look` and each one more. Speeds within a share of `gap` of each other
    are equal. `alpha` is the probability that of two tied cells one is named the winner; so a cell that is not the
    fastest is named with half of it at most.
    """

    rounds: int = 6
    gap: float = 0.03
    alpha: float = 0.05
    first_look: int = 3


@dataclass(frozen=True)
class Standing:
    """A race after a look. `contenders` (…, cells) are still in it; where `winner` (…) is true there is one, where
    `equal` (…) is true there are several and all of them are within the gap of each other.
    """

    contenders: Flags
    winner: Flags
    equal: Flags

    @property
    def over(self) -> Flags:
        """True where no further round is needed."""
        return self.winner | self.equal


@cache
def significance(rules: RaceRules) -> float:
    """Of one side of one pair at one look, so that a tied pair is told apart with `alpha` by all looks together."""
    last = max(rules.rounds, rules.first_look)
    walks = np.random.default_rng(0).standard_normal((WALKS, last)).cumsum(axis=1) / np.sqrt(np.arange(1, last + 1))
    boundary = np.quantile(np.abs(walks[:, rules.first_look - 1 :]).max(axis=1), 1 - rules.alpha)
    return float(special.ndtr(-boundary))


def half_widths(fit: BlockFit, rules: RaceRules) -> Floats:
    """By how much the logarithmic means of two cells must differ to be told apart at a look, (…, cells, cells)."""
    critical = -special.stdtrit(fit.degrees, significance(rules))
    widths: Floats = np.asarray(critical)[..., None, None] * fit.standard_errors()
    return widths


def judge(fit: BlockFit, contenders: Flags, rules: RaceRules) -> Standing:
    """One look at a race of figures whose larger values are better. Whoever has left does not come back."""
    differences, widths = fit.differences(), half_widths(fit, rules)
    behind = (differences < -widths) & contenders[..., None, :]
    staying = contenders & ~behind.any(axis=-1)
    pairs = staying[..., :, None] & staying[..., None, :]
    equal = (
        (np.abs(differences) + widths <= np.log1p(rules.gap)) | ~pairs | np.eye(fit.means.shape[-1], dtype=bool)
    ).all(axis=(-2, -1))
    alone = staying.sum(axis=-1) == 1
    return Standing(staying, alone, equal & ~alone)


def most_telling(fit: BlockFit, contenders: Flags) -> Flags:
    """The first of the contenders and the one that is hardest to tell from it: where the next visits decide most."""
    means = np.where(contenders, fit.means, -np.inf)
    first = means.argmax(axis=-1)[..., None]
    behind = np.take_along_axis(fit.differences(), first[..., None], axis=-2)[..., 0, :]
    errors = np.take_along_axis(fit.standard_errors(), first[..., None], axis=-2)[..., 0, :]
    distance = np.where(contenders, behind / np.maximum(errors, np.finfo(np.float64).tiny), np.inf)
    np.put_along_axis(distance, first, np.inf, axis=-1)
    second = distance.argmin(axis=-1)[..., None]
    cells = np.arange(means.shape[-1])
    chosen: Flags = contenders & ((cells == first) | (cells == second))
    return chosen


def resolution(scale: float, degrees: float, rounds: float, rules: RaceRules) -> float:
    """The share by which a cell must be seen faster than another one to be told from it, after so many rounds of both,
    with a noise of `scale` (standard deviation of a visit's logarithm) that is known with `degrees` of freedom.
    """
    return float(np.expm1(-special.stdtrit(degrees, significance(rules)) * scale * np.sqrt(2 / rounds)))


def rounds_until(fit: BlockFit, contenders: Flags, share: float, rules: RaceRules, most: int = 100) -> int | None:
    """How many more rounds of the contenders of one race show differences of a `share` of speed between any two of
    them, if its noise is what it was. None where `most` rounds do not.
    """
    count = int(contenders.sum())
    if count < 2:
        return 0
    errors = fit.standard_errors()[np.ix_(contenders, contenders)] / float(fit.scale)
    visited = 2 / errors.max() ** 2  # rounds of both that would leave such an error
    for more in range(most + 1):
        degrees = float(fit.degrees) + more * (count - 1)
        if resolution(float(fit.scale), degrees, visited + more, rules) <= share:
            return more
    return None
