"""Intervals of means and of a recovery from the intervals of their parts: the method of variance estimates recovery.

Each part keeps its own interval, which may be as lopsided as that of a proportion near 1. A limit of the combination
lies as far from its value as the parts' limits on that side do together (MOVER: Zou and Donner, Statistics in Medicine
27, 2008), and a ratio's are those of numerator − ratio × denominator = 0 (Donner and Zou, Statistical Methods in
Medical Research 21, 2012), here with parts that may be correlated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from evals.stats.intervals import Estimate


def mean_of(parts: Sequence[Estimate]) -> Estimate:
    """Of independent parts, each counting the same."""
    count, value = len(parts), math.fsum(part.value for part in parts) / len(parts)
    below = math.sqrt(math.fsum((part.value - part.low) ** 2 for part in parts)) / count
    above = math.sqrt(math.fsum((part.high - part.value) ** 2 for part in parts)) / count
    return Estimate(value, value - below, value + above, sum(part.count for part in parts))


def recovery_of(difference: Estimate, baseline: Estimate, correlation: float) -> Estimate:
    """(baseline + difference) ÷ baseline; never below 0, unbounded where the baseline may be 0.

    `correlation` is that of the two estimates.
    """
    if baseline.value <= 0:
        return Estimate(1.0 if difference.value == 0 else math.inf, 0.0, math.inf, difference.count)
    low = _end(difference, baseline, correlation, -1)
    high = _end(difference, baseline, correlation, 1)
    return Estimate(1 + difference.value / baseline.value, max(1 + low, 0.0), 1 + high, difference.count)


def _end(difference: Estimate, baseline: Estimate, correlation: float, side: int) -> float:
    """The lower (−1) or upper (1) limit of difference ÷ baseline: a root x of the quadratic equation
    (d − x b)² = e² + x² f² − 2 ρ x e f, with d and b the values, e and f how far their limits on the right sides lie.
    """
    limit = difference.low if side < 0 else difference.high
    reach = abs(limit - difference.value)
    # x has the sign of the difference's limit; minus x times the baseline reaches to its other side
    other = baseline.high - baseline.value if side * limit < 0 else baseline.value - baseline.low
    square, d, b = baseline.value**2 - other**2, difference.value, baseline.value
    if not math.isfinite(reach) or square <= 0:
        return side * math.inf
    middle = d * b - correlation * reach * other
    root = math.sqrt(max(middle * middle - square * (d * d - reach * reach), 0.0))
    return (middle + side * root) / square
