"""Changes between two runs: what cells have in common, and what is a cell's own."""

from __future__ import annotations

import numpy as np
import pytest

from evals.rounds.block_model import NoisePrior
from evals.rounds.two_runs import OF_A_CELL, Changes, common_change, of_others, p_of_verdicts, relative_changes

ALL = np.ones(6, dtype=bool)


def test_what_most_cells_have_in_common_is_not_moved_by_a_few() -> None:
    changes = np.array([-0.11, -0.10, -0.09, -0.10, -0.6, 0.4])
    common = common_change(changes, np.full(6, 0.01**2), ALL, OF_A_CELL)
    assert common.values == pytest.approx(-0.1, abs=0.02)
    assert 4 < common.worth < 5
    assert common.degrees == 5 + OF_A_CELL.degrees


def test_the_spread_is_that_of_the_errors_where_nothing_else_differs() -> None:
    """Of many races at once: the variance between cells is found beside that of their visits."""
    generator, among = np.random.default_rng(0), np.ones((2000, 30), dtype=bool)
    for between in (0.0, 0.05):
        changes = np.sqrt(0.04**2 + between**2) * generator.standard_normal(among.shape)
        common = common_change(changes, np.full(among.shape, 0.04**2), among, NoisePrior(0.0, 1.0))
        assert np.sqrt(np.median(common.between)) == pytest.approx(between, abs=0.01)
        assert common.values.std() == pytest.approx(np.sqrt((0.04**2 + between**2) / 30), rel=0.1)


def test_a_cell_is_held_against_the_others_of_which_nothing_changed() -> None:
    changes, errors = np.array([-0.3, -0.3, -0.3, 0.0, 0.0, 0.0]), np.full(6, 0.01**2)
    own = Changes(changes, errors, np.full(6, 50.0))
    others = of_others(changes, errors, np.array([False, False, False, True, True, True]), OF_A_CELL)
    np.testing.assert_allclose(others.values, 0.0, atol=1e-9)
    np.testing.assert_allclose(relative_changes(own, others).values, changes, atol=1e-9)
    rest = of_others(changes, errors, np.array([False] * 5 + [True]), OF_A_CELL)
    assert rest.values[0] == 0.0
    assert rest.values[5] == pytest.approx(-0.18, abs=0.1)  # no other one is known to be unchanged


def test_both_ways_are_needed_to_pass_and_where_the_others_changed() -> None:
    def changes(*values: float) -> Changes:
        return Changes(np.array(values), np.full(len(values), 0.01**2), np.full(len(values), 50.0))

    relative, absolute = changes(-0.2, -0.2, 0.0, 0.0), changes(-0.2, 0.0, 0.0, -0.2)
    alone = p_of_verdicts(relative, absolute, np.log(0.95), np.zeros(4, dtype=bool))
    assert (alone < 1e-4).tolist() == [True, True, True, False]
    both = p_of_verdicts(relative, absolute, np.log(0.95), np.ones(4, dtype=bool))
    assert (both < 1e-4).tolist() == [True, False, True, False]


def test_one_more_error_has_fewer_degrees_of_freedom() -> None:
    sure = Changes(np.zeros(1), np.array([1.0]), np.array([100.0]))
    unsure = sure.with_error(1.0, 2.0)
    assert unsure.variances[0] == 2.0
    assert unsure.degrees[0] == pytest.approx(4 / (1 / 100 + 1 / 2))
    assert sure.with_error(0.0, 2.0).degrees[0] == pytest.approx(100.0)
    assert unsure.p_values(0.0)[0] == pytest.approx(1.0)
