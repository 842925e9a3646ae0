"""Who stays in a race for several things at once."""

from __future__ import annotations

import numpy as np

from evals.rounds.block_model import NoisePrior
from evals.rounds.objectives import Objective, look_at
from evals.rounds.race import RaceRules

RULES = RaceRules()
ALL = np.ones(4, dtype=bool)


def speeds(*means, noise=0.01):
    return np.asarray(means)[:, None] + noise * np.random.default_rng(0).standard_normal((4, 3))


def names(objectives):
    return dict.fromkeys(objectives, ALL)


def test_the_first_by_any_objective_stays() -> None:
    objectives = {
        "throughput": Objective(speeds(0.5, 0.49, 0.0, 0.0, noise=0.03)),
        "ttft": Objective(speeds(0.5, 0.3, 0.0, 0.0), less_is_better=True),
    }
    look = look_at(objectives, names(objectives), RULES)
    np.testing.assert_array_equal(look.standings["throughput"].contenders, [True, True, False, False])
    np.testing.assert_array_equal(look.standings["ttft"].contenders, [False, False, True, True])
    assert look.staying.all()
    assert not look.over


def test_a_settled_objective_keeps_nobody_in_the_race() -> None:
    objectives = {
        "throughput": Objective(speeds(0.5, 0.49, 0.0, 0.0, noise=0.03)),
        "joules": Objective(speeds(0.5, 0.5, 0.2, -0.5), less_is_better=True),
    }
    look = look_at(objectives, names(objectives), RULES)
    assert look.standings["joules"].winner
    np.testing.assert_array_equal(look.staying, [True, True, False, False])


def test_whoever_may_be_on_the_frontier_stays() -> None:
    objectives = {"throughput": Objective(speeds(0.5, 0.49, 0.2, 0.0))}
    draws = np.random.default_rng(1).normal([0.5, 0.49, 0.2, 0.0], 0.01, (500, 4))
    quality = np.tile([0.1, 0.1, 0.5, 0.1], (500, 1))
    look = look_at(objectives, names(objectives), RULES, frontiers=[[draws, quality]])
    np.testing.assert_array_equal(look.staying, [True, True, True, False])


def test_when_all_is_settled_the_winners_are_left() -> None:
    objectives = {
        "throughput": Objective(speeds(0.5, 0.1, 0.0, 0.0), noise=NoisePrior(0.01**2, 10.0)),
        "ttft": Objective(speeds(0.5, 0.3, 0.2, -0.5), less_is_better=True),
    }
    look = look_at(objectives, names(objectives), RULES)
    assert look.over
    np.testing.assert_array_equal(look.staying, [True, False, False, True])
