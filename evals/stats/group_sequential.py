"""Accuracy in looks: a comparison stops at the first one that decides, with the error rate that the plan states.

Items are asked in a fixed order (`evals.stats.stratification`) and looked at after so many, each time √2 times as many
as before. Each look may spend its own share of the error rate, and the shares add up to it, so that all looks together
are wrong no more often (the union bound; alpha spending: Lan and DeMets, Biometrika 70, 1983). Half of it is left for
the last look, the whole set: what a single test of all items would find is nearly always found here too. No look's test
assumes anything of the others, so the tests are those of `evals.stats.paired_tests`, of a sample's worth
(`evals.stats.stratified_estimators`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evals.stats.intervals import CONFIDENCE
from evals.stats.paired_items import Matched
from evals.stats.paired_tests import ALPHA, Paired, compare, p_values
from evals.stats.stratified_estimators import compare_sample, flips_of, futures

LOOKS = 11
SMALLEST_LOOK = 25
SMALLEST_SET = 100
FUTURES = 400
FUTILE = 0.1  # the price: of losses that all items would show in 97 of 100 cases, 85 are shown (`benchmarks.adaptive`)


def looks(drawn: int) -> tuple[int, ...]:
    """Items at which a set of `drawn` is looked at: the whole, 1/√2 of it, a half, …, at least SMALLEST_LOOK.

    A set of less than SMALLEST_SET is looked at once: what could be saved there is not worth half of its error rate.
    """
    if drawn < SMALLEST_SET:
        return (drawn,)
    fewer = [int(drawn / math.sqrt(2.0**look)) for look in range(1, LOOKS)]
    return tuple(sorted({drawn, *(count for count in fewer if count >= SMALLEST_LOOK)}))


def shares(plan: Sequence[int]) -> tuple[float, ...]:
    """Of the error rate, what each look may spend: a half for the last, the others by their items."""
    early = sum(plan[:-1])
    return (*(0.5 * count / early for count in plan[:-1]), 0.5 if early else 1.0)


def confidence_at(items: int, drawn: int) -> float:
    """Of an interval around what was seen at a look, for it to hold for all looks together with 95 %."""
    plan = looks(drawn)
    return 1 - ALPHA * dict(zip(plan, shares(plan), strict=True)).get(items, 1.0)


def follow(pairs: Matched, margin: float) -> Paired:
    """The comparison at the last look that was reached. Its p-values hold for all looks so far, its interval too.

    Raises ValueError where no look was reached.
    """
    plan, asked = looks(pairs.drawn), len(pairs.candidate)
    reached = [(count, share) for count, share in zip(plan, shares(plan), strict=True) if count <= asked]
    if not reached:
        raise ValueError(f"{asked} items are fewer than the first look, {plan[0]}")
    comparisons = [(share, compare_asked(pairs.first(count), margin, 1 - ALPHA * share)) for count, share in reached]
    return replace(
        comparisons[-1][1],
        p_different=min(1.0, *(comparison.p_different / share for share, comparison in comparisons)),
        p_equivalent=min(1.0, *(comparison.p_equivalent / share for share, comparison in comparisons)),
        drawn=pairs.drawn,
    )


def compare_asked(pairs: Matched, margin: float, confidence: float = CONFIDENCE) -> Paired:
    """The comparison by the items that were asked so far, a single time."""
    if len(pairs.sizes) > 1 and len(pairs.candidate) < pairs.drawn:
        return compare_sample(pairs, margin, confidence)
    return compare(pairs.baseline, pairs.candidate, margin=margin, clusters=pairs.clusters, confidence=confidence)


def settled(pairs: Matched, margin: float, level: float) -> bool:
    """True where the comparison needs no more items: one of its tests has decided, or more items hardly would.

    `level` is the error rate of this comparison, of a family that shares one (Bonferroni; Holm's correction over the
    same family in the end can only decide more).
    """
    comparison = follow(pairs, margin)
    if min(comparison.p_different, comparison.p_equivalent) <= level or len(pairs.candidate) >= pairs.drawn:
        return True
    return decides_later(pairs, margin, level) < FUTILE


def decides_later(pairs: Matched, margin: float, level: float) -> float:
    """The probability that the whole set would decide, given what was seen (predictive power: Spiegelhalter, Freedman
    and Blackburn, Controlled Clinical Trials 7, 1986). Giving up early decides nothing, so it costs no error rate.

    Passages that items share are left out of this forecast, which makes it the more hopeful.
    """
    lost, gained = futures(flips_of(pairs), FUTURES)
    tests = p_values(pairs.drawn, lost, gained, margin)
    return float(np.mean(np.minimum(*tests) <= level * shares(looks(pairs.drawn))[-1]))
