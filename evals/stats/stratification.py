"""Which items a comparison asks first: those on which the baseline was undecided, where answers flip.

Quantization flips an answer where the two best were nearly as likely. Items are put into equal strata by how far the
baseline's best answer was ahead of its next one, and the undecided strata are sampled more densely, as Neyman's
allocation does for strata of larger variance (Journal of the Royal Statistical Society 97, 1934). Within a stratum
the order is random, and every stratum counts by its size, so that no estimate leans towards undecided items.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
STRATA = 8
SMALLEST_STRATUM = 50
HALVED_AFTER = 2.5  # so many strata on, items are drawn half as densely: about the root of how much rarer flips are


def strata_of(margins: Sequence[float]) -> Ints:
    """Each item's stratum, the least decided ones in stratum 0; sets too small for strata of 50 items have fewer."""
    count = max(1, min(STRATA, len(margins) // SMALLEST_STRATUM))
    ascending = np.argsort(np.asarray(margins), kind="stable")
    strata = np.empty(len(margins), dtype=np.int64)
    for number, members in enumerate(np.array_split(ascending, count)):
        strata[members] = number
    return strata


def drawing_order(strata: Ints) -> Ints:
    """Positions in the order in which items are asked, of items that come in a random order.

    However many of the first are taken, each stratum is there by its density, or whole.
    """
    when = np.empty(len(strata), dtype=np.float64)
    for number in range(int(strata.max()) + 1):
        (members,) = np.nonzero(strata == number)
        when[members] = (np.arange(len(members)) + 0.5) / len(members) * 2.0 ** (number / HALVED_AFTER)
    return np.argsort(when, kind="stable")


def crowding(passages: Sequence[str]) -> float:
    """By how much, at most, the variance of a mean is larger because items share passages (an empty name: none): as if
    those that do always flipped together (Kish's design effect, Survey Sampling, 1965, for an intraclass correlation
    of 1).
    """
    sizes = Counter(passage for passage in passages if passage)
    alone = len(passages) - sum(sizes.values())
    return (alone + sum(size * size for size in sizes.values())) / len(passages)
