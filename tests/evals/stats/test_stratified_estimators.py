"""Samples of undecided items first: what is said of the whole set is right as often as it says."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from evals.stats.paired_tests import compare
from evals.stats.stratified_estimators import Flips, added_variance, compare_sample, effective, flips_of, futures
from tests.support.made_requests import matched_of, pair


def _flips(sizes: list[int], asked: list[int], lost: list[int], gained: list[int]) -> Flips:
    return Flips(*(np.asarray(column) for column in (sizes, asked, lost, gained)))


def test_a_complete_sample_is_worth_what_it_is() -> None:
    pairs = pair(np.random.default_rng(0), 600, 0.3)
    flips = flips_of(pairs)
    lost, gained = int(flips.lost.sum()), int(flips.gained.sum())
    assert effective(flips) == pytest.approx((600, lost, gained))
    comparison, known = compare_sample(pairs, 0.006), compare(pairs.baseline, pairs.candidate, margin=0.006)
    assert (comparison.lost, comparison.gained, comparison.items) == (known.lost, known.gained, known.items)
    assert comparison.p_different == pytest.approx(known.p_different)
    assert comparison.p_equivalent == pytest.approx(known.p_equivalent)


def test_each_stratum_counts_by_its_size() -> None:
    """Ten of a hundred undecided items are lost, one of 25 asked of a hundred decided ones is gained: −10 and +4."""
    flips = _flips([100, 100], [100, 25], [10, 0], [0, 1])
    items, lost, gained = effective(flips)
    assert (gained - lost) / items == pytest.approx((4 - 10) / 200)
    assert lost / gained == pytest.approx(10 / 4)
    # by hand: rates (0.1, 0.04) do not rise, so the second stratum's is (1 + ½) ÷ (25 + 1)
    added = 0.5**2 * 0.75 * (1.5 / 26) / 25
    assert added_variance(flips) == pytest.approx(added)
    variance = (14 / 200 - (6 / 200) ** 2) / 200
    assert items == pytest.approx(200 * variance / (variance + added))


def test_strata_whose_flips_grow_with_the_lead_are_pooled_or_count_their_own() -> None:
    flips = _flips([100] * 3, [50, 20, 10], [10, 1, 2], [0, 0, 1])
    assert flips.pools == [slice(0, 1), slice(1, 3)]
    assert added_variance(flips) == pytest.approx((0.5 * 10.5 / 51 / 50 + 0.8 * 4.5 / 31 / 20 + 0.9 * 3 / 10 / 10) / 9)


def test_a_sample_that_lacks_a_stratum_is_refused() -> None:
    pairs = pair(np.random.default_rng(0), 600, 0.3)
    only = replace(pairs, baseline=(1.0,) * 20, candidate=(1.0,) * 20, clusters=("",) * 20, strata=(0,) * 20)
    with pytest.raises(ValueError, match="no item was asked of one of the strata"):
        compare_sample(only, 0.006)


@pytest.mark.parametrize("noise", [0.05, 0.3])
@pytest.mark.parametrize("share", [8, 2])
def test_no_difference_is_called_one_no_more_often_than_stated(noise: float, share: int) -> None:
    generator, wrong = np.random.default_rng(1), 0
    for _ in range(400):
        pairs = pair(generator, 600, noise)
        wrong += compare_sample(pairs.first(600 // share), 0.006).p_different <= 0.05
    assert wrong / 400 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)


@pytest.mark.parametrize("where", ["anywhere", "decided", "undecided"])
def test_a_loss_of_the_margin_is_called_equivalent_no_more_often_than_stated(where: str) -> None:
    """Losses of 3 % of the items, and as many that flip both ways, by chance, on one half of the items or the other."""
    generator, wrong, covered = np.random.default_rng(2), 0, 0
    for _ in range(400):
        margins, base = generator.random(800), generator.random(800) < 0.6
        half = {"anywhere": margins >= 0, "decided": margins > 0.5, "undecided": margins <= 0.5}[where]
        flips = half & (generator.random(800) < (0.1 if where == "anywhere" else 0.2))
        lost = flips & (generator.random(800) < 0.65)
        right = np.where(lost, True, base)  # a lost one was right, a gained one was wrong
        right = np.where(flips & ~lost, False, right)
        pairs = matched_of(right, np.where(flips, ~right, right), margins)
        comparison = compare_sample(pairs.first(300), 0.03)
        wrong += comparison.p_equivalent <= 0.05
        covered += comparison.difference.low <= -0.03 <= comparison.difference.high
    assert wrong / 400 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)
    assert covered / 400 >= 0.95 - 2 * math.sqrt(0.05 * 0.95 / 400)


def test_half_of_the_items_are_worth_much_more_where_flips_are_among_the_undecided() -> None:
    generator = np.random.default_rng(3)
    worth = [effective(flips_of(pair(generator, 2000, 0.05).first(1000)))[0] / 2000 for _ in range(20)]
    assert np.mean(worth) > 0.8


def test_futures_begin_with_what_was_seen_and_end_at_the_whole_set() -> None:
    flips = _flips([400, 400], [200, 50], [20, 0], [10, 0])
    lost, gained = futures(flips, 4000)
    assert lost.min() >= 20
    assert gained.min() >= 10
    # 200 more at 30.5 ÷ 201, and 350 more at 0.5 ÷ 51
    assert np.mean(lost + gained) == pytest.approx(30 + 200 * 30.5 / 201 + 350 * 0.5 / 51, rel=0.02)
    full = _flips([50], [50], [3], [1])
    assert {*futures(full, 5)[0].tolist()} == {3}


def test_items_that_share_passages_are_worth_fewer() -> None:
    pairs = pair(np.random.default_rng(5), 600, 0.3).first(300)
    shared = replace(pairs, clusters=("a", "a", "b", "b", *("",) * 296))
    comparison, other = compare_sample(pairs, 0.006), compare_sample(shared, 0.006)
    assert other.difference.value == pytest.approx(comparison.difference.value)
    assert other.difference.high - other.difference.low > comparison.difference.high - comparison.difference.low
