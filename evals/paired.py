"""Two checkpoints on the same questions: flips both ways, an interval for the difference, a verdict with stated errors.

Two error bars that overlap say little; that the same questions were asked says much (McNemar, Psychometrika 12, 1947).
Difference always means candidate − baseline, as a share of the items.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from scipy import optimize, stats

from evals.statistics import CONFIDENCE, Estimate

ALPHA = 1 - CONFIDENCE
POWER = 0.8
Verdict = Literal["better", "equivalent", "worse", "inconclusive"]


@dataclass(frozen=True)
class Paired:
    """One comparison. `lost` items were right in the baseline alone, `gained` in the candidate alone.

    `margin` is the share of items by which two equivalent checkpoints may differ. `p_different` is McNemar's exact
    test, `p_equivalent` the larger of two one-sided score tests against the margin; `verdict` goes by both after
    Holm's correction over the family. `detectable` is the smallest difference that so many items show with a
    probability of 80 %; `more_items` how many more would decide an inconclusive comparison, if what was seen is true
    (None where no number of them would).
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
    verdict: Verdict = "inconclusive"


def compare(baseline: Sequence[float], candidate: Sequence[float], *, relative_margin: float) -> Paired:
    """Items in one order, each right (1) or wrong (0). The margin is relative to the baseline's accuracy.

    Raises ValueError where the sides have other items, or values that are neither.
    """
    if len(baseline) != len(candidate) or not baseline:
        raise ValueError(f"{len(baseline)} items cannot be compared with {len(candidate)}")
    if not {*baseline, *candidate} <= {0.0, 1.0}:
        raise ValueError("only items that are right (1) or wrong (0) can be compared by their flips")
    items = len(baseline)
    lost = sum(a > b for a, b in zip(baseline, candidate, strict=True))
    gained = sum(a < b for a, b in zip(baseline, candidate, strict=True))
    margin = relative_margin * max(sum(baseline), 0.5) / items
    return Paired(
        items=items,
        lost=lost,
        gained=gained,
        difference=difference_interval(items, lost, gained),
        margin=margin,
        p_different=float(stats.binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0,
        p_equivalent=_p_equivalent(items, lost, gained, margin),
        detectable=detectable_difference(items, lost + gained),
        more_items=_more_items(items, lost, gained, margin),
    )


def _score(delta: float, items: int, lost: int, gained: int) -> float:
    """Tango's score statistic for a true difference `delta` (Statistics in Medicine 17, 1998, equations 2 to 4)."""
    b = -lost - gained + (2 * items - gained + lost) * delta
    c = -lost * delta * (1 - delta)
    constrained = (math.sqrt(max(b * b - 8 * items * c, 0.0)) - b) / (4 * items)
    variance = items * (2 * constrained + delta * (1 - delta))
    distance = gained - lost - items * delta
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance) if distance else 0.0


def difference_interval(items: int, lost: int, gained: int, confidence: float = CONFIDENCE) -> Estimate:
    """(gained − lost) ÷ items with Tango's score interval: it holds for few flips, and for none."""
    z, value = float(stats.norm.ppf((1 + confidence) / 2)), (gained - lost) / items

    def end(sign: int) -> float:
        edge = sign * (1 - 1e-12)
        if sign * value >= 1 - 1e-12:
            return float(sign)
        return float(optimize.brentq(lambda x: _score(x, items, lost, gained) + sign * z, value, edge))

    return Estimate(value, end(-1), end(1), items)


def _p_equivalent(items: int, lost: int, gained: int, margin: float) -> float:
    """Two one-sided tests (Schuirmann, J. Pharmacokinetics and Biopharmaceutics 15, 1987) by Tango's score."""
    below = float(stats.norm.sf(_score(-margin, items, lost, gained)))
    above = float(stats.norm.cdf(_score(margin, items, lost, gained)))
    return max(below, above)


def detectable_difference(items: int, discordant: int) -> float:
    """The difference that McNemar's test at 5 % shows with 80 % power (Connor, Biometrics 43, 1987).

    The share of discordant items is what was seen, half an item added: none seen does not mean that there are none.
    """
    share = (discordant + 0.5) / (items + 1)
    z, power = float(stats.norm.ppf(1 - ALPHA / 2)), float(stats.norm.ppf(POWER))
    low = 0.0
    for _ in range(50):  # δ √n = z √d + z' √(d − δ²): a fixed point, which converges since δ² < d
        low = (z * math.sqrt(share) + power * math.sqrt(max(share - low * low, 0.0))) / math.sqrt(items)
    return min(low, 1.0)


def _more_items(items: int, lost: int, gained: int, margin: float) -> int | None:
    """Items beyond these that decide with 80 % power, if the shares that were seen are the true ones.

    A difference beyond the margin is to be shown by McNemar's test (Connor, 1987), one within it to be shown
    equivalent by two one-sided tests.
    """
    share = (lost + gained + 0.5) / (items + 1)
    delta = abs(gained - lost) / items
    spread, power = math.sqrt(max(share - delta * delta, 0.0)), float(stats.norm.ppf(POWER))
    if delta > margin:
        z = float(stats.norm.ppf(1 - ALPHA / 2))
        needed = ((z * math.sqrt(share) + power * spread) / delta) ** 2
    elif delta < margin:
        both = float(stats.norm.ppf((1 + POWER) / 2)) if delta == 0 else power
        needed = ((float(stats.norm.ppf(1 - ALPHA)) + both) * spread / (margin - delta)) ** 2
    else:
        return None
    return max(math.ceil(needed) - items, 0)


def decide_family(comparisons: Sequence[Paired]) -> list[Paired]:
    """The same comparisons with verdicts, wrong in any of them with a probability of at most 5 % for each question.

    Holm's correction (Scandinavian Journal of Statistics 6, 1979) over all tests for a difference, and over all for
    equivalence. A difference that is real but lies within the margin is equivalent.
    """
    different = holm([one.p_different for one in comparisons])
    equivalent = holm([one.p_equivalent for one in comparisons])
    return [
        replace(one, verdict=_verdict(one, p < ALPHA, q < ALPHA))
        for one, p, q in zip(comparisons, different, equivalent, strict=True)
    ]


def _verdict(one: Paired, different: bool, equivalent: bool) -> Verdict:
    if equivalent:
        return "equivalent"
    if different:
        return "better" if one.gained > one.lost else "worse"
    return "inconclusive"


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values in the order given."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        worst = max(worst, min((len(p_values) - rank) * p_values[index], 1.0))
        adjusted[index] = worst
    return adjusted
