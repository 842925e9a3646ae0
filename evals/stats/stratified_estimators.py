"""Flips of a sample whose strata were drawn with different densities: what they say of all items."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import scipy

from evals.stats.intervals import CONFIDENCE, UNSEEN, Floats
from evals.stats.paired_items import Matched
from evals.stats.paired_tests import Paired, compare_flips
from evals.stats.stratification import Ints, crowding


@dataclass(frozen=True)
class Flips:
    """Per stratum: items of the whole set, items asked, and of those the lost and the gained ones."""

    sizes: Ints
    asked: Ints
    lost: Ints
    gained: Ints

    @property
    def pools(self) -> list[slice]:
        """Neighbouring strata, put together until items nearer to a flip flip at least as often (isotonic regression:
        Barlow and others, Statistical Inference under Order Restrictions, 1972).
        """
        rates = (self.lost + self.gained) / self.asked
        blocks = scipy.optimize.isotonic_regression(rates, weights=self.asked, increasing=False).blocks
        return [slice(first, last) for first, last in pairwise(blocks)]


def flips_of(pairs: Matched) -> Flips:
    base, ours, strata = np.asarray(pairs.baseline), np.asarray(pairs.candidate), np.asarray(pairs.strata)

    def count(chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Ints:
        return np.bincount(strata[chosen], minlength=len(pairs.sizes))

    return Flips(np.asarray(pairs.sizes), count(strata >= 0), count(base > ours), count(base < ours))


def compare_sample(pairs: Matched, margin: float, confidence: float = CONFIDENCE) -> Paired:
    """As `compare`, of all items of the set, by those that were asked.

    Lost and gained items are extrapolated to the set, and set and flips shrunk to as many items as would give this
    variance if they were drawn with one density (effective sample size: Korn and Graubard, Survey Methodology 24,
    1998), and for the passages that some of them share. A complete sample is worth what it is. Raises ValueError where
    a stratum was not asked at all.
    """
    flips = flips_of(pairs)
    if not flips.asked.all():
        raise ValueError("no item was asked of one of the strata")
    items, lost, gained = (count / crowding(pairs.clusters) for count in effective(flips))
    comparison = compare_flips(items, lost, gained, margin, confidence)
    asked = int(flips.asked.sum())
    return replace(
        comparison,
        items=asked,
        lost=int(flips.lost.sum()),
        gained=int(flips.gained.sum()),
        difference=replace(comparison.difference, count=asked),
        drawn=pairs.drawn,
    )


def effective(flips: Flips) -> tuple[float, float, float]:
    """Items, lost and gained that one density would have needed for the same variance of the mean difference.

    Double sampling for stratification (Cochran, Sampling Techniques, 1977, section 12.2): all items of the set are a
    sample themselves, and what was not asked of a stratum adds to its variance.
    """
    drawn = int(flips.sizes.sum())
    lost, gained = (float((flips.sizes / flips.asked * counts).sum()) for counts in (flips.lost, flips.gained))
    variance = max((lost + gained) / drawn - ((gained - lost) / drawn) ** 2, UNSEEN / (drawn + 1)) / drawn
    worth = variance / (variance + added_variance(flips))
    return drawn * worth, lost * worth, gained * worth


def added_variance(flips: Flips) -> float:
    """What is added to the variance of the set's mean difference by the items that were not asked."""
    weights, left = flips.sizes / flips.sizes.sum(), 1 - flips.asked / flips.sizes
    return float((weights**2 * left * _rates(flips) / flips.asked).sum())


def _rates(flips: Flips) -> Floats:
    """The share of items that flip, by stratum: that of its pool with half a flip added, or its own where that is more,
    since a checkpoint may be damaged where its baseline was sure.
    """
    own: Floats = (flips.lost + flips.gained) / flips.asked
    pooled = np.empty_like(own)
    for pool in flips.pools:
        seen = int((flips.lost + flips.gained)[pool].sum())
        pooled[pool] = (seen + UNSEEN) / (int(flips.asked[pool].sum()) + 2 * UNSEEN)
    return np.maximum(own, pooled)


def futures(flips: Flips, count: int, seed: int = 0) -> tuple[Ints, Ints]:
    """`count` possible (lost, gained) of the whole set: what was seen, and what is drawn for the items that were not.

    The share of items that flip is drawn from its posterior, and so is the share of flips that are losses (Jeffreys'
    priors), both by pool.
    """
    generator = np.random.default_rng(seed)
    lost, gained = (np.full(count, counts.sum()) for counts in (flips.lost, flips.gained))
    for pool in flips.pools:
        totals = [int(counts[pool].sum()) for counts in (flips.lost, flips.gained, flips.asked, flips.sizes)]
        flipping = generator.beta(totals[0] + totals[1] + UNSEEN, totals[2] - totals[0] - totals[1] + UNSEEN, count)
        losing = generator.beta(totals[0] + UNSEEN, totals[1] + UNSEEN, count)
        more = generator.binomial(totals[3] - totals[2], flipping)
        fewer = generator.binomial(more, losing)
        lost, gained = lost + fewer, gained + more - fewer
    return lost, gained
