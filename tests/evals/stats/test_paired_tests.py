"""The paired comparison, checked against published values, against brute force and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from evals.stats.paired_tests import Paired, compare, detectable_difference, difference_interval, margin_of, verdicts


def _items(both: int, lost: int, gained: int, neither: int) -> tuple[list[float], list[float]]:
    baseline = [1.0] * both + [1.0] * lost + [0.0] * gained + [0.0] * neither
    candidate = [1.0] * both + [0.0] * lost + [1.0] * gained + [0.0] * neither
    return baseline, candidate


def test_flips_are_counted_both_ways() -> None:
    comparison = compare(*_items(60, 12, 3, 25), margin=0.0072)
    assert (comparison.items, comparison.lost, comparison.gained) == (100, 12, 3)
    assert comparison.difference.value == -0.09
    assert comparison.margin == pytest.approx(0.0072)
    assert comparison.p_different == pytest.approx(float(stats.binomtest(3, 15).pvalue))


def _score_by_search(delta: float, items: int, lost: int, gained: int) -> float:
    """The same statistic with the constrained likelihood maximized numerically, not by Tango's closed form."""

    def unlikely(q: float) -> float:  # q: true share of lost, q + delta of gained
        parts = ((lost, q), (gained, q + delta), (items - lost - gained, 1 - 2 * q - delta))
        return -sum(count * math.log(max(share, 1e-300)) for count, share in parts if count)

    low, high = max(0.0, -delta), (1 - delta) / 2
    q = optimize.minimize_scalar(unlikely, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    return float((gained - lost - items * delta) / math.sqrt(items * (2 * q + delta - delta * delta)))


@pytest.mark.parametrize(("items", "lost", "gained"), [(50, 2, 12), (44, 0, 1), (1600, 150, 86), (300, 4, 9)])
def test_at_both_ends_the_score_is_the_normal_quantile(items: int, lost: int, gained: int) -> None:
    estimate, z = difference_interval(items, lost, gained), float(stats.norm.ppf(0.975))
    assert _score_by_search(estimate.low, items, lost, gained) == pytest.approx(z, abs=2e-3)
    assert _score_by_search(estimate.high, items, lost, gained) == pytest.approx(-z, abs=2e-3)


def test_without_flips_the_interval_has_a_closed_form() -> None:
    estimate, z = difference_interval(30, 0, 0), float(stats.norm.ppf(0.975))
    assert estimate.high == pytest.approx(z * z / (30 + z * z), abs=1e-9)
    assert estimate.low == pytest.approx(-estimate.high, abs=1e-9)


def test_the_interval_is_symmetric_and_stays_in_range() -> None:
    estimate, other = difference_interval(40, 7, 2), difference_interval(40, 2, 7)
    assert (estimate.low, estimate.high) == pytest.approx((-other.high, -other.low), abs=1e-9)
    assert difference_interval(5, 5, 0).low == -1.0
    assert difference_interval(5, 0, 5).high == 1.0


def _simulated(
    generator: np.random.Generator, items: int, lost: float, gained: float, repeats: int
) -> list[tuple[int, int]]:
    rest = 1 - lost - gained
    return [(int(a), int(b)) for a, b, _ in generator.multinomial(items, [lost, gained, rest], size=repeats)]


@pytest.mark.parametrize(
    ("items", "lost", "gained"), [(50, 0.02, 0.02), (100, 0.1, 0.05), (100, 0.02, 0.0), (200, 0.03, 0.01)]
)
def test_intervals_cover_the_truth_in_95_of_100(items: int, lost: float, gained: float) -> None:
    """Not simulated but summed over all outcomes: the coverage is exact."""
    expected = items * (lost + gained)
    most = int(expected + 8 * math.sqrt(expected) + 8)
    covered = 0.0
    for a in range(most):
        for b in range(most - a):
            weight = float(stats.multinomial.pmf([a, b, items - a - b], items, [lost, gained, 1 - lost - gained]))
            if weight > 1e-7:
                estimate = difference_interval(items, a, b)
                covered += weight * (estimate.low <= gained - lost <= estimate.high)
    assert 0.938 <= covered <= 0.99  # conservative where flips are few, as such intervals are


def test_intervals_cover_the_truth_where_flips_are_many() -> None:
    drawn = _simulated(np.random.default_rng(0), 400, 0.2, 0.15, 1500)
    estimates = [difference_interval(400, a, b) for a, b in drawn]
    covered = sum(estimate.low <= -0.05 <= estimate.high for estimate in estimates) / 1500
    assert abs(covered - 0.95) < 3 * math.sqrt(0.05 * 0.95 / 1500)


def test_equal_checkpoints_are_rarely_called_different() -> None:
    """The exact test keeps its 5 %, whatever the number of flips."""
    for items, share in ((50, 0.05), (200, 0.1), (1000, 0.02)):
        drawn = _simulated(np.random.default_rng(1), items, share / 2, share / 2, 2000)
        wrong = sum(stats.binomtest(a, a + b).pvalue < 0.05 for a, b in drawn if a + b)
        assert wrong / 2000 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)


def test_a_family_of_equal_checkpoints_names_a_winner_or_a_loser_in_5_of_100() -> None:
    generator, wrong = np.random.default_rng(2), 0
    for _ in range(300):
        family = [_paired(300, a, b) for a, b in _simulated(generator, 300, 0.05, 0.05, 6)]
        wrong += any(verdict in ("better", "worse") for verdict in _decide(*family))
    assert wrong / 300 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)


def _paired(items: int, lost: int, gained: int, margin: float = 0.01) -> Paired:
    baseline, candidate = _items(items - lost - gained, lost, gained, 0)
    return compare(baseline, candidate, margin=margin_of(baseline, margin))


def _decide(*family: Paired) -> list[str]:
    return [
        *verdicts(
            [
                (comparison.p_different, comparison.p_equivalent, comparison.difference.value > 0)
                for comparison in family
            ]
        )
    ]


def test_checkpoints_at_the_margin_are_rarely_called_equivalent() -> None:
    """Type-1 error of equivalence: the true difference is the margin itself."""
    items, margin = 1000, 0.02
    drawn = _simulated(np.random.default_rng(3), items, 0.05 + margin, 0.05, 1500)
    called = 0
    for lost, gained in drawn:
        comparison = compare(*_items(items - lost - gained, lost, gained, 0), margin=margin)
        called += _decide(comparison) == ["equivalent"]
        assert comparison.items == items
    assert called / 1500 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1500)


def test_the_detectable_difference_is_detected_in_80_of_100() -> None:
    items, share = 800, 0.1
    delta = detectable_difference(items, round(share * items))
    drawn = _simulated(np.random.default_rng(4), items, (share + delta) / 2, (share - delta) / 2, 1500)
    detected = sum(stats.binomtest(a, a + b).pvalue < 0.05 for a, b in drawn if a + b)
    assert 0.74 <= detected / 1500 <= 0.84  # the exact test is a little weaker than the formula


def test_so_many_more_items_decide_it() -> None:
    """Both ways: a difference beyond the margin is shown, one within it is shown equivalent."""
    real = _paired(200, 14, 6)
    assert real.more_items is not None
    items = 200 + real.more_items
    drawn = _simulated(np.random.default_rng(5), items, 0.07, 0.03, 600)
    shown = sum(_decide(_paired(items, a, b)) == ["worse"] for a, b in drawn)
    assert 0.7 <= shown / 600 <= 0.92
    none = _paired(500, 5, 5, margin=0.02)
    assert none.more_items is not None
    items = 500 + none.more_items
    drawn = _simulated(np.random.default_rng(6), items, 0.01, 0.01, 600)
    shown = sum(_decide(_paired(items, a, b, 0.02)) == ["equivalent"] for a, b in drawn)
    assert 0.7 <= shown / 600 <= 0.95


def test_verdicts() -> None:
    decisions = _decide(_paired(1000, 80, 10), _paired(1000, 10, 80), _paired(1000, 0, 0), _paired(100, 5, 4))
    assert decisions == ["worse", "better", "equivalent", "inconclusive"]
    small = _paired(100_000, 400, 250, margin=0.02)
    assert small.p_different < 1e-6
    assert _decide(small) == ["equivalent"]  # a difference, but not one that matters


def test_one_of_many_must_be_surer_than_one_alone() -> None:
    alone = _paired(400, 22, 8)
    assert _decide(alone) == ["worse"]
    assert _decide(alone, *[_paired(400, 8, 8)] * 7)[0] == "inconclusive"


def test_other_items_are_refused() -> None:
    with pytest.raises(ValueError, match="2 items cannot be compared with 1"):
        compare([1.0, 0.0], [1.0], margin=0.01)


def test_values_between_right_and_wrong_are_compared_by_their_differences() -> None:
    baseline = [0.2 + 0.01 * (i % 7) for i in range(60)]
    worse = [value - 0.1 - 0.01 * (i % 5) for i, value in enumerate(baseline)]
    comparison = compare(baseline, worse, margin=0.01)
    assert comparison.difference.value == pytest.approx(-0.12)
    assert (comparison.lost, comparison.gained, comparison.clusters) == (60, 0, 60)
    assert _decide(comparison) == ["worse"]


def test_questions_that_share_a_passage_count_as_fewer() -> None:
    """The same flips: on questions of their own, and all four questions of a passage at once."""
    baseline, candidate = _items(152, 24, 8, 16)
    passages = [f"p{i // 4}" for i in range(200)]
    alone, shared = (
        compare(baseline, candidate, margin=0.01),
        compare(baseline, candidate, margin=0.01, clusters=passages),
    )
    assert (alone.clusters, shared.clusters) == (0, 50)
    assert shared.difference.value == alone.difference.value
    assert shared.difference.high - shared.difference.low > 1.5 * (alone.difference.high - alone.difference.low)
    assert _decide(alone) == ["worse"]
    assert _decide(shared) == ["inconclusive"]


def test_passages_of_one_question_each_change_nothing() -> None:
    baseline, candidate = _items(60, 12, 3, 25)
    alone = [f"p{i}" for i in range(100)]
    assert compare(baseline, candidate, margin=0.01, clusters=alone) == compare(baseline, candidate, margin=0.01)


def test_a_difference_of_exactly_the_margin_is_decided_by_no_number_of_items() -> None:
    at = compare(*_items(90, 10, 0, 0), margin=0.1)
    assert (at.difference.value, at.margin, at.more_items) == (-0.1, 0.1, None)
