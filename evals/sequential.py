"""Accuracy in looks: a comparison stops at the first one that decides, with the error rate that the plan states.

Items are drawn in a fixed random order and looked at after so many, each time twice as many as before. Each look may
spend its own share of the error rate, and the shares add up to it, so that all looks together are wrong no more often
(the union bound; alpha spending: Lan and DeMets, Biometrika 70, 1983). Half of it is left for the last look, the whole
set: what a single test of all items would find is nearly always found here too. No look's test assumes anything of the
others, so the tests are the ones of `evals.paired`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from evals.paired import ALPHA, Paired, compare, p_values

LOOKS = 6
SMALLEST_LOOK = 25
FUTURES = 200
FUTILE = 0.2  # the price: of losses that all items would show in 94 of 100 cases, 78 are shown (`benchmarks.adaptive`)


def looks(drawn: int) -> tuple[int, ...]:
    """Items at which a set of `drawn` is looked at: the whole, half of it, a quarter, …, at least SMALLEST_LOOK."""
    halved = [drawn >> times for times in range(1, LOOKS)]
    return tuple(sorted({drawn, *(count for count in halved if count >= SMALLEST_LOOK)}))


def shares(count: int) -> tuple[float, ...]:
    """Of the error rate, what each of `count` looks may spend: a half for the last, a quarter for the one before, …;
    the first gets as much as the second.
    """
    return tuple(2.0 ** -min(count - position, count - 1) for position in range(count))


def widening(items: int, drawn: int) -> float:
    """By how much a 95 % interval around what was seen at a look must be wider to hold for all looks together."""
    plan = looks(drawn)
    share = dict(zip(plan, shares(len(plan)), strict=True)).get(items, 1.0)
    return float(stats.norm.ppf(1 - ALPHA * share / 2) / stats.norm.ppf(1 - ALPHA / 2))


def follow(
    baseline: Sequence[float], candidate: Sequence[float], drawn: int, *, margin: float, clusters: Sequence[str] = ()
) -> Paired:
    """The comparison at the last look that was reached. Its p-values hold for all looks so far, its interval too.

    Items in drawn order, the baseline's as far as the candidate's. Raises ValueError where no look was reached.
    """
    plan = looks(drawn)
    reached = [(count, share) for count, share in zip(plan, shares(len(plan)), strict=True) if count <= len(candidate)]
    if not reached:
        raise ValueError(f"{len(candidate)} items are fewer than the first look, {plan[0]}")
    found = [
        (
            share,
            compare(
                baseline[:count], candidate[:count], margin=margin, clusters=clusters[:count],
                confidence=1 - ALPHA * share,
            ),
        )
        for count, share in reached
    ]  # fmt: skip
    return replace(
        found[-1][1],
        p_different=min(1.0, *(one.p_different / share for share, one in found)),
        p_equivalent=min(1.0, *(one.p_equivalent / share for share, one in found)),
        drawn=drawn,
    )


def settled(one: Paired, error_rate: float, comparisons: int) -> bool:
    """True where the comparison needs no more items: one of its tests has decided, or more items hardly would.

    `comparisons` is the size of the family of questions, among which the error rate is shared out (Bonferroni; Holm's
    correction over the same family in the end can only decide more).
    """
    level = error_rate / comparisons
    if min(one.p_different, one.p_equivalent) <= level or one.items >= one.drawn:
        return True
    return decides_later(one, level) < FUTILE


def decides_later(one: Paired, level: float) -> float:
    """The probability that the whole set would decide, given what was seen (predictive power: Spiegelhalter, Freedman
    and Blackburn, Controlled Clinical Trials 7, 1986). Giving up early decides nothing, so it costs no error rate.

    The share of items that flip is drawn from its posterior, and so is the share of flips that are losses (Jeffreys'
    priors). Passages that items share are left out of this forecast, which makes it the more hopeful.
    """
    generator = np.random.default_rng(0)
    flips, left = one.lost + one.gained, one.drawn - one.items
    flipping = generator.beta(flips + 0.5, one.items - flips + 0.5, FUTURES)
    losing = generator.beta(one.lost + 0.5, one.gained + 0.5, FUTURES)
    more = generator.binomial(left, flipping)
    lost = generator.binomial(more, losing)
    tests = p_values(one.drawn, one.lost + lost, one.gained + more - lost, one.margin)
    return float(np.mean(np.minimum(*tests) <= level * shares(2)[-1]))
