"""Resampled scores beyond what resamples resolve: a tail of Student's t fitted to their outer twentieth.

The least p of B resamples is 1 ÷ (B + 1), which no correction over many comparisons survives, and a quantile farther
out does not exist. A parametric tail goes on where too few resamples are left (Knijnenburg, Wessels, Reinders and
Shmulevich, "Fewer permutations, more accurate P-values", Bioinformatics 25, 2009). Theirs is a generalized Pareto
distribution, whose fitted tail may end; studentized scores have no such end, and a scaled t has none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from evals.stats.intervals import Floats

OUTER, FAR = 0.05, 0.005  # shares of scores beyond the two quantiles by which a tail is fitted
HEAVIEST = 1.0  # degrees of freedom: Cauchy's
LIGHTEST = 1000.0
TINY = 1e-300
DEGREES = np.geomspace(LIGHTEST, HEAVIEST, 200)
STRETCH = special.stdtrit(DEGREES, 1 - FAR) / special.stdtrit(DEGREES, 1 - OUTER)  # ascending


@dataclass(frozen=True)
class Tail:
    """The upper tail of scores in ascending order; beyond the FAR-th share of them it is `scale` × t(`degrees`)."""

    scores: Floats
    degrees: float
    scale: float

    @classmethod
    def of(cls, scores: Floats, degrees: float) -> Tail:
        """Fit both parameters to two quantiles; at least as heavy as Student's t of so many degrees of freedom.

        `tests/evals/stats/test_studentized_tail.py` holds its far quantiles against those of many more resamples.
        """
        outer, far = (float(scores[-round(share * len(scores))]) if len(scores) else 0.0 for share in (OUTER, FAR))
        if not 0 < outer <= far:
            return cls(scores, degrees, 1.0)
        fitted = min(float(np.interp(far / outer, STRETCH, DEGREES)), degrees)
        return cls(scores, fitted, far / float(special.stdtrit(fitted, 1 - FAR)))

    def beyond(self, score: float) -> float:
        """The probability of a score at least as large; the sample itself is counted as one more resample."""
        more = len(self.scores) - int(np.searchsorted(self.scores, score, side="left"))
        if more >= FAR * len(self.scores) and more:
            return (1 + more) / (1 + len(self.scores))
        return max(float(special.stdtr(self.degrees, -score / self.scale)), TINY) if len(self.scores) else 0.0

    def quantile(self, tail: float) -> float:
        """The score that is exceeded with this probability: the (B + 1) × tail-th from the end (Davison and Hinkley,
        1997, section 2.4) where so many are there; 0 where nothing was resampled.
        """
        rank = int(tail * (len(self.scores) + 1))
        if not len(self.scores):
            return 0.0
        if rank >= FAR * len(self.scores):
            return float(self.scores[-rank])
        return -float(special.stdtrit(self.degrees, tail)) * self.scale
