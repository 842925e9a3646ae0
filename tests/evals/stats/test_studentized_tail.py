"""The fitted tail against tails that are known, and against far more resamples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from evals.stats import cluster_bootstrap
from evals.stats.studentized_tail import Tail

PLACES = (np.arange(4000) + 0.5) / 4000


@pytest.mark.parametrize("degrees", [3.0, 8.0, 40.0])
def test_the_tail_of_students_t_is_found_again(degrees: float) -> None:
    tail = Tail.of(2.0 * special.stdtrit(degrees, PLACES), 100.0)
    for chance in (1e-3, 1e-5, 1e-8):
        score = -2.0 * float(special.stdtrit(degrees, chance))
        assert tail.quantile(chance) == pytest.approx(score, rel=0.08)
        assert np.log10(tail.beyond(score)) == pytest.approx(np.log10(chance), abs=0.3)


def test_it_is_never_lighter_than_the_residuals_degrees_of_freedom_say() -> None:
    assert Tail.of(np.linspace(-2.0, 2.0, 4000), 7.0).degrees == 7.0


def test_it_goes_on_where_the_resamples_end() -> None:
    scores = special.stdtrit(10.0, PLACES)
    tail = Tail.of(scores, 10.0)
    chances = [tail.beyond(score) for score in (*scores[-40:].tolist(), 20.0, 1e9)]
    assert chances == sorted(chances, reverse=True)
    assert 0 < chances[-1] < chances[-2] < 1e-6


def test_without_resamples_it_says_nothing() -> None:
    tail = Tail.of(np.empty(0), 5.0)
    assert (tail.beyond(3.0), tail.quantile(0.025)) == (0.0, 0.0)


def test_skewed_residuals_have_the_tail_of_many_more_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = np.random.default_rng(0).exponential(1.0, 40)
    errors -= errors.mean()
    tail = Tail.of(cluster_bootstrap._resampled(errors, np.ones(40), 0), 39.0)
    monkeypatch.setattr(cluster_bootstrap, "RESAMPLES", 100_000)
    many = cluster_bootstrap._resampled(errors, np.ones(40), 1)
    assert tail.quantile(1e-4) == pytest.approx(many[-10], rel=0.35)
