from __future__ import annotations

import numpy as np
import pytest

from evals.stats.group_sequential import looks
from evals.stats.stratification import crowding, drawing_order, strata_of


def test_strata_are_equal_and_begin_with_the_undecided() -> None:
    margins = np.random.default_rng(0).permutation(800).astype(float)
    strata = strata_of(margins.tolist())
    assert np.bincount(strata).tolist() == [100] * 8
    assert [margins[strata == number].max() for number in range(8)] == [99.0 + 100 * number for number in range(8)]


@pytest.mark.parametrize(("items", "strata"), [(1, 1), (99, 1), (100, 2), (250, 5), (400, 8), (14_042, 8)])
def test_small_sets_have_fewer_strata(items: int, strata: int) -> None:
    assert int(strata_of(list(range(items))).max()) + 1 == strata


def test_the_undecided_are_asked_first_and_in_random_order_within() -> None:
    strata = strata_of(np.random.default_rng(1).random(800).tolist())
    order = drawing_order(strata)
    assert sorted(order.tolist()) == list(range(800))
    early = np.bincount(strata[order[:200]], minlength=8)
    assert early.tolist() == sorted(early.tolist(), reverse=True)
    assert 5 <= early[0] / early[7] <= 9  # 2 ** (7 / 2.5) = 7
    members = [place for place in order.tolist() if strata[place] == 3]
    assert members == sorted(members)  # as they came, which was random


def test_one_stratum_is_asked_as_it_comes() -> None:
    assert drawing_order(strata_of([3.0, 1.0, 2.0])).tolist() == [0, 1, 2]


def test_every_look_sees_every_stratum() -> None:
    for items in [*range(100, 1000, 7), 2376, 14_042]:
        strata = strata_of(list(range(items)))
        first = drawing_order(strata)[: looks(items)[0]]
        assert len({*strata[first].tolist()}) == int(strata.max()) + 1


def test_crowding_by_hand() -> None:
    assert crowding(["", "", "a"]) == 1.0
    assert crowding(["a", "a", "", ""]) == 1.5
    assert crowding(["a"] * 4 + ["b"] * 4) == 4.0
