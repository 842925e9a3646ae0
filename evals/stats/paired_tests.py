"""Two checkpoints on the same questions: flips both ways, an interval for the difference, a verdict with stated errors.

Two error bars that overlap say little; that the same questions were asked says much (McNemar, Psychometrika 12, 1947).
Difference always means candidate − baseline, as a share of the items.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy
from scipy import special

from evals.stats.cluster_bootstrap import compare_clusters
from evals.stats.intervals import CONFIDENCE, Estimate, Floats
from evals.stats.multiple_testing import holm

Counts = float | npt.NDArray[np.int64]
ALPHA = 1 - CONFIDENCE
POWER = 0.8
TINY = 1e-300
Verdict = Literal["better", "equivalent", "worse", "inconclusive"]


@dataclass(frozen=True)
class Paired:
    """One comparison. `lost` items were right in the baseline alone, `gained` in the candidate alone.

    `margin` is the difference by which two equivalent checkpoints may differ. `p_different` is the test for any
    difference (McNemar's exact one where items are right or wrong), `p_equivalent` the larger of two one-sided tests
    against the margin; `verdict` goes by both after Holm's correction over the family. `detectable` is the smallest
    difference that so many items show with a probability of 80 %; `more_items` how many more would decide an
    inconclusive comparison, if what was seen is true (None where no number of them would). `drawn` items are there in
    all, of which an adaptive budget needed `items`: then `lost` and `gained` are of those, and the difference of all.
    `clusters` counts the passages that questions share, 0 where they share none.
    """

    items: int
    lost: int
    gained: int
    difference: Estimate
    margin: float
    p_different: float
    p_equivalent: float
    detectable: float
    more_items: int | None
    drawn: int
    clusters: int = 0
    verdict: Verdict = "inconclusive"


def margin_of(baseline: Sequence[float], relative_margin: float) -> float:
    """The margin as a share of the items; a baseline without a right answer counts as half a one."""
    return relative_margin * max(sum(baseline), 0.5) / len(baseline)


def compare(
    baseline: Sequence[float],
    candidate: Sequence[float],
    *,
    margin: float,
    clusters: Sequence[str] = (),
    confidence: float = CONFIDENCE,
) -> Paired:
    """Items in one order. Those that are right (1) or wrong (0) and share no passage are compared by their flips, all
    others by their differences, resampled by passage (`clusters` names each item's; empty for its own).

    Raises ValueError where the sides have other items.
    """
    if len(baseline) != len(candidate) or not baseline:
        raise ValueError(f"{len(baseline)} items cannot be compared with {len(candidate)}")
    named = [cluster for cluster in clusters if cluster]
    if len(set(named)) == len(named) and {*baseline, *candidate} <= {0.0, 1.0}:
        items, (lost, gained) = len(baseline), _flips(baseline, candidate)
        comparison = compare_flips(items, lost, gained, margin, confidence)
        return replace(comparison, items=items, lost=lost, gained=gained, drawn=items)
    return _by_clusters(baseline, candidate, clusters or [""] * len(baseline), margin, confidence)


def _flips(baseline: Sequence[float], candidate: Sequence[float]) -> tuple[int, int]:
    lost = sum(a > b for a, b in zip(baseline, candidate, strict=True))
    gained = sum(a < b for a, b in zip(baseline, candidate, strict=True))
    return lost, gained


def compare_flips(items: float, lost: float, gained: float, margin: float, confidence: float) -> Paired:
    """By counts, which are fractions where a sample is worth a fraction of what it was drawn from."""
    p_different, p_equivalent = p_values(items, lost, gained, margin)
    return Paired(
        items=round(items),
        lost=round(lost),
        gained=round(gained),
        difference=difference_interval(items, lost, gained, confidence),
        margin=margin,
        p_different=float(p_different),
        p_equivalent=float(p_equivalent),
        detectable=detectable_difference(items, lost + gained),
        more_items=_more_items(items, (lost + gained + 0.5) / (items + 1), abs(gained - lost) / items, margin),
        drawn=round(items),
    )


def _by_clusters(
    baseline: Sequence[float], candidate: Sequence[float], names: Sequence[str], margin: float, confidence: float
) -> Paired:
    items, (lost, gained) = len(baseline), _flips(baseline, candidate)
    sums: dict[str, float] = {}
    sizes: dict[str, int] = {}
    for number, (a, b, name) in enumerate(zip(baseline, candidate, names, strict=True)):
        key = name or f"alone {number}"
        sums[key] = sums.get(key, 0.0) + b - a
        sizes[key] = sizes.get(key, 0) + 1
    difference = compare_clusters(list(sums.values()), list(sizes.values()), margin=margin, confidence=confidence)
    # the variance of one item as if items were independent and gave this spread of the clusters' sums
    mean = difference.difference.value
    squares = sum((total - mean * sizes[key]) ** 2 for key, total in sums.items())
    second_moment = squares / items + mean * mean
    return Paired(
        items=items,
        lost=lost,
        gained=gained,
        difference=difference.difference,
        margin=margin,
        p_different=difference.p_different,
        p_equivalent=difference.p_equivalent,
        detectable=_detectable(items, max(second_moment, 0.5 / (items + 1))),
        more_items=_more_items(items, max(second_moment, 0.5 / (items + 1)), abs(mean), margin),
        drawn=items,
        clusters=len(sums),
    )


def p_values(items: float, lost: Counts, gained: Counts, margin: float) -> tuple[Floats, Floats]:
    """(McNemar's exact test for a difference, two one-sided tests for a difference within the margin), of each count.

    The exact test is two-sided: twice the smaller tail of Binomial(lost + gained, ½), by the incomplete beta function,
    which is defined for fractions too.
    """
    fewer, more = np.minimum(lost, gained), np.maximum(lost, gained)
    different = np.minimum(2 * special.betainc(np.maximum(more, TINY), fewer + 1, 0.5), 1.0)
    return np.asarray(different), _p_equivalent(items, lost, gained, margin)


def _score(delta: float, items: float, lost: Counts, gained: Counts) -> Floats:
    """Tango's score statistic for a true difference `delta` (Statistics in Medicine 17, 1998, equations 2 to 4)."""
    lost, gained = np.asarray(lost, dtype=np.float64), np.asarray(gained, dtype=np.float64)
    b = -lost - gained + (2 * items - gained + lost) * delta
    c = -lost * delta * (1 - delta)
    constrained = (np.sqrt(np.maximum(b * b - 8 * items * c, 0.0)) - b) / (4 * items)
    variance = items * (2 * constrained + delta * (1 - delta))
    distance = gained - lost - items * delta
    with np.errstate(divide="ignore", invalid="ignore"):
        score = distance / np.sqrt(np.maximum(variance, 0.0))
    statistic: Floats = np.where(distance == 0, 0.0, score)
    return statistic


def difference_interval(items: float, lost: float, gained: float, confidence: float = CONFIDENCE) -> Estimate:
    """(gained − lost) ÷ items with Tango's score interval: it holds for few flips, and for none."""
    z, value = float(special.ndtri((1 + confidence) / 2)), (gained - lost) / items

    def end(sign: int) -> float:
        edge = sign * (1 - 1e-12)
        if sign * value >= 1 - 1e-12:
            return float(sign)
        return float(scipy.optimize.brentq(lambda x: float(_score(x, items, lost, gained)) + sign * z, value, edge))

    return Estimate(value, end(-1), end(1), round(items))


def _p_equivalent(items: float, lost: Counts, gained: Counts, margin: float) -> Floats:
    """Two one-sided tests (Schuirmann, J. Pharmacokinetics and Biopharmaceutics 15, 1987) by Tango's score."""
    below = special.ndtr(-_score(-margin, items, lost, gained))
    above = special.ndtr(_score(margin, items, lost, gained))
    worst: Floats = np.maximum(below, above)
    return worst


def detectable_difference(items: float, discordant: float) -> float:
    """The difference that McNemar's test at 5 % shows with 80 % power (Connor, Biometrics 43, 1987).

    The share of discordant items is what was seen, half an item added: none seen does not mean that there are none.
    """
    return _detectable(items, (discordant + 0.5) / (items + 1))


def _detectable(items: float, share: float) -> float:
    z, power = float(special.ndtri(1 - ALPHA / 2)), float(special.ndtri(POWER))
    low = 0.0
    for _ in range(50):  # δ √n = z √d + z' √(d − δ²): a fixed point, which converges since δ² < d
        low = (z * math.sqrt(share) + power * math.sqrt(max(share - low * low, 0.0))) / math.sqrt(items)
    return min(low, 1.0)


def _more_items(items: float, share: float, delta: float, margin: float) -> int | None:
    """Items beyond these that decide with 80 % power, if what was seen is the truth: `share` of them differ (or: the
    mean square of a difference), and `delta` is the mean difference.

    A difference beyond the margin is to be shown by McNemar's test (Connor, 1987), one within it to be shown
    equivalent by two one-sided tests.
    """
    spread, power = math.sqrt(max(share - delta * delta, 0.0)), float(special.ndtri(POWER))
    if delta > margin:
        z = float(special.ndtri(1 - ALPHA / 2))
        needed = ((z * math.sqrt(share) + power * spread) / delta) ** 2
    elif delta < margin:
        both = float(special.ndtri((1 + POWER) / 2)) if delta == 0 else power
        needed = ((float(special.ndtri(1 - ALPHA)) + both) * spread / (margin - delta)) ** 2
    else:
        return None
    return max(math.ceil(needed - items), 0)


def verdicts(tests: Sequence[tuple[float, float, bool]], error_rate: float = ALPHA) -> list[Verdict]:
    """Verdicts of a family of (p of no difference, p of a difference beyond the margin, candidate is better), wrong in
    any of them with at most `error_rate` for each question.

    Holm's correction (Scandinavian Journal of Statistics 6, 1979) over all tests for a difference, and over all for
    equivalence. A difference that is real but lies within the margin is equivalent.
    """
    different = holm([p_value for p_value, _, _ in tests])
    equivalent = holm([p_value for _, p_value, _ in tests])
    return [
        "equivalent" if q <= error_rate else "inconclusive" if p > error_rate else "better" if better else "worse"
        for p, q, (_, _, better) in zip(different, equivalent, tests, strict=True)
    ]
