"""With what probability limits are kept: by hand, and what it is worth to go by it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from evals.schema.slo import SLO
from evals.stats.intervals import Estimate
from reports.decision.limit_probability import (
    MET,
    UNKNOWN,
    LimitCheck,
    all_kept,
    all_of,
    check_limit,
    cost_kept,
    keeps,
    slo_kept,
)
from reports.decision.rules import likely
from reports.decision.verdicts import Limits, Undecided, judge
from reports.metrics.cell import cell_metrics
from reports.metrics.cost import Price
from reports.metrics.engine_loss import EngineLoss
from tests.support.made_trials import speed, trial


def test_a_limit_is_kept_with_the_probability_that_the_interval_says() -> None:
    """One standard error above the limit, on logarithms: 84 %."""
    error = 0.05 / 1.959964
    ends = Estimate(*(math.exp(error + shift) for shift in (0, -0.05, 0.05)), 100)
    assert Undecided("recovery", ends, 1.0).kept_with == pytest.approx(0.8413, abs=1e-4)
    assert Undecided("perplexity", ends, 1.0).kept_with == pytest.approx(0.1587, abs=1e-4)
    for unbounded in (Estimate(0.9, 0.05, math.inf, 50), Estimate(0.0, 0.0, 1.0, 3), Estimate(1.1, 0.0, 1e304, 1)):
        assert Undecided("recovery", unbounded, 0.98).kept_with == 0.5


@pytest.mark.parametrize("truth", [0.97, 0.98, 0.99])
def test_of_figures_just_on_their_limit_one_in_ten_is_said_to_keep_it(truth: float) -> None:
    """Normal logarithms of standard error 0.01, on the limit and one error to either side."""
    values = np.exp(math.log(truth) + 0.01 * np.random.default_rng(3).standard_normal(4000))
    half = math.exp(0.01 * 1.959964)
    enough = [likely(keeps(Estimate(v, v / half, v * half, 9), 0.98, at_least=True)) for v in values.tolist()]
    expected = {0.97: 0.011, 0.98: 0.1, 0.99: 0.397}[truth]
    assert np.mean(enough) == pytest.approx(expected, abs=0.02)


def test_several_limits_are_all_kept_at_least_as_bonferroni_says() -> None:
    assert all_kept([]) == 1.0
    assert all_kept([0.98, 0.95]) == pytest.approx(0.93)
    assert all_kept([0.4, 0.5]) == 0.0
    assert all_of([MET, LimitCheck("inconclusive", 0.95), LimitCheck("inconclusive", 0.96)]) == (
        "inconclusive",
        pytest.approx(0.91),
    )
    assert all_of([MET, UNKNOWN]) == UNKNOWN
    assert all_of([LimitCheck("violated", 0.0), MET]) == ("violated", 0.0)
    assert all_of([]) == MET


def test_a_cell_keeps_its_limits_with_what_its_undecided_figures_say() -> None:
    base = trial("none", 10, 2.0, 80)
    limits = Limits(accuracy_recovery=0.9, perplexity_ratio=1.1)
    near = judge(cell_metrics(trial("near", 20, 1.0, 73, 2.01), base), limits)
    assert near.verdict == "inconclusive"
    assert near.kept_with == near.undecided[0].kept_with
    assert judge(cell_metrics(trial("good", 20, 1.0, 80, 2.01), base), limits).kept_with == 1.0
    assert judge(cell_metrics(trial("bad", 20, 0.2, 80, 4.0), base), limits).kept_with == 0.0
    assert judge(cell_metrics(base, base), limits, ["doubt"]).kept_with == 0.0
    unscored = replace(trial("silent", 20, 1.0, 80), scores=(), perplexities=())
    assert judge(cell_metrics(unscored, base), limits).kept_with == 0.0


def test_what_is_not_known_of_an_engine_keeps_nothing() -> None:
    base = trial("none", 10, 2.0, 80)
    unknown = EngineLoss(
        engine="e", reference="none · t", recovery=None, perplexity_ratio=None, same_answers=False, same_tokens=False
    )
    limits = Limits(accuracy_recovery=0.9, perplexity_ratio=1.1)
    judged = judge(cell_metrics(base, base), limits, loss=unknown)
    assert (judged.verdict, judged.cause, judged.kept_with) == ("inconclusive", "engine", 0.0)


def test_an_slo_and_a_cost_are_kept_by_the_intervals_of_their_figures() -> None:
    load = replace(speed(10, 1), repeats=tuple(repeat * 40 for repeat in speed(10, 1).repeats))
    assert slo_kept(load, None) == MET
    assert slo_kept(load, SLO(None, 1.0, 90)) == MET
    assert slo_kept(load, SLO(None, 0.001, 90)) == ("violated", 0.0)
    few = speed(10, 1)
    state, probability = slo_kept(few, SLO(None, 0.1, 90))
    assert state == "inconclusive"
    assert 0 <= probability <= 1
    price = Price(3.6, "EUR", 100.0)  # 0.001 a second: 100 a million at 10 tokens/s
    rate = Estimate(10.0, 8.0, 12.5, 5)
    assert cost_kept(rate, 1, None) == MET
    assert cost_kept(rate, None, price) == UNKNOWN
    assert cost_kept(rate, 1, price) == ("inconclusive", pytest.approx(0.5))
    assert cost_kept(Estimate(20.0, 18.0, 22.0, 5), 1, price) == MET
    assert check_limit("cost", Estimate(2.0, 1.9, 2.1, 5), 1.0) == ("violated", 0.0)
