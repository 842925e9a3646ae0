"""Rates of two runs as one family: planted rounds, and how often some of them is judged wrongly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from evals.schema.trial import Trial
from reports.compare.rates import RateChange, moved_alike, rate_changes
from reports.compare.runs import compare
from reports.decision.results import Results
from reports.metrics.cell import CellMetrics
from tests.support.made_races import raced, visited_speed
from tests.support.made_trials import ABOUT, speed, trial

LEAST = 0.95
METHODS = ("none", "rtn", "awq", "gptq", "fp8", "smoothquant")


def _run(*trials: Trial) -> Results:
    """No conclusions: what is compared are the trials' samples."""
    cells = tuple(CellMetrics(made, (), (), None, None, None, None) for made in trials)
    return Results({**ABOUT, "accuracy": {"error_rate": 0.05}}, trials, cells, {})


def _changes(before: Results, after: Results, least: float = LEAST) -> list[RateChange]:
    return list(rate_changes(before, after, list(zip(before.cells, after.cells, strict=True)), least).values())


def _planted(
    generator: np.random.Generator, rounds: int, share: float = 1.0, left: Mapping[str, int] | None = None
) -> Results:
    """Six cells with rounds that differ by 6 % and errors of 4 %, at a share of their rates; some left after a round."""
    shared = 0.06 * generator.standard_normal(rounds)
    logs = shared + 0.04 * generator.standard_normal((len(METHODS), rounds)) + np.log(share)
    cells = {
        method: {number + 1: float(50 * np.exp(log)) for number, log in enumerate(row)}
        for method, row in zip(METHODS, logs, strict=True)
    }
    stays = left or {}
    return _run(
        *(
            raced(method, {number: rate for number, rate in rates.items() if number <= stays.get(method, rounds)})
            for method, rates in cells.items()
        )
    )


def _wrong(
    share: float, rounds: Sequence[int], least: float, left: Mapping[str, int] | None = None
) -> tuple[float, float]:
    """How often some rate, and how often a given one, is judged at 5 %."""
    generator, sweeps, families, singles = np.random.default_rng(7), 300, 0, 0
    for _ in range(sweeps):
        changes = _changes(_planted(generator, rounds[0]), _planted(generator, rounds[1], share, left), least)
        assert len(changes) == len(METHODS)
        families += any(change.adjusted <= 0.05 for change in changes)
        singles += changes[0].p_value <= 0.05
    return families / sweeps, singles / sweeps


@pytest.mark.parametrize(("rounds", "left"), [((4, 4), None), ((3, 8), None), ((6, 6), {"awq": 3, "gptq": 4})])
def test_of_all_rates_some_is_judged_wrongly_in_five_percent_of_comparisons_at_most(
    rounds: tuple[int, int], left: Mapping[str, int] | None
) -> None:
    """At the least share that passes neither verdict is right; two standard errors of 300 are 2.5 %."""
    family, single = _wrong(LEAST, rounds, LEAST, left)
    assert family <= 0.05 + 0.025
    assert single <= 0.05 + 0.025


def test_a_large_loss_is_seen_and_the_same_rates_are_none() -> None:
    generator = np.random.default_rng(1)
    before = _planted(generator, 8)
    slower = _changes(before, _planted(generator, 8, 0.7))
    assert all(change.adjusted <= 0.05 and change.ratio.value < LEAST for change in slower)
    assert all(change.ratio.low < 0.7 < change.ratio.high for change in slower)
    same = _changes(before, before)
    assert all(change.ratio.value == pytest.approx(1.0) for change in same)
    assert not any(change.adjusted <= 0.05 and change.ratio.value < LEAST for change in same)


def test_rounds_that_were_slower_as_a_whole_are_no_certainty() -> None:
    """Cells compare well within a run; from run to run they share what its rounds had."""
    quiet = {method: {n: 50.0 + n / 100 for n in range(1, 5)} for method in METHODS}
    slow = {method: {n: 50.0 * share for n, share in enumerate((1.0, 0.8, 0.9, 0.75), 1)} for method in METHODS}
    runs = [_run(*(raced(method, rates) for method, rates in run.items())) for run in (quiet, slow)]
    for change in _changes(*runs):
        assert change.p_value > 0.05
        assert change.ratio.low < LEAST < change.ratio.high


def test_where_all_rates_moved_alike_it_is_said() -> None:
    before = _run(*(raced(method, {1: 50.0, 2: 51.0, 3: 49.0}) for method in METHODS))
    slower = _run(*(raced(method, {1: 45.0, 2: 45.9, 3: 44.1}) for method in METHODS))
    text = moved_alike(_changes(before, slower))
    assert text is not None
    assert text.startswith("all 6 rates are 0.90 (0.90 to 0.90) times what they were: the machine as a whole may have")
    one_slower = _run(
        *(raced(method, {1: 45.0, 2: 45.9, 3: 44.1} if method == "rtn" else {1: 51.0}) for method in METHODS)
    )
    assert moved_alike(_changes(before, one_slower)) is None
    assert moved_alike(_changes(before, before)) is None


def test_one_of_many_needs_a_smaller_p_value_than_one_alone() -> None:
    """Repeats of one server: each rate by its own spread. With one rate it is the 95 % interval that decides."""
    pair = trial("none", 10, 1.0, 50), trial("none", 8.8, 1.0, 50)
    pair = tuple(replace(made, speed=(speed(rate, wobble=0.009),)) for made, rate in zip(pair, (10, 8.8), strict=True))
    (alone,) = _changes(_run(pair[0]), _run(pair[1]))
    assert alone.adjusted == alone.p_value
    assert 0.01 < alone.p_value < 0.05
    others = [replace(trial(name, 10, 1.0, 50), speed=(speed(9.5, wobble=0.1),)) for name in METHODS[1:]]
    among = _changes(_run(pair[0], *others), _run(pair[1], *others))
    assert among[0].p_value == alone.p_value
    assert among[0].adjusted == pytest.approx(6 * alone.p_value)


def test_a_rate_without_a_spread_of_its_own_is_not_judged() -> None:
    once = [replace(trial("none", rate, 1.0, 50), speed=(visited_speed({1: rate}),)) for rate in (10.0, 2.0)]
    (change,) = _changes(_run(once[0]), _run(once[1]))
    assert (change.p_value, change.ratio.high) == (1.0, float("inf"))


def test_the_p_value_and_how_rates_are_judged_are_said() -> None:
    run = _planted(np.random.default_rng(3), 4)
    comparison = compare(run, run)
    assert comparison.rates_by.endswith("after Holm's correction over all of them.")
    assert comparison.cells[0].checks[0].text.startswith("1 [")
    assert " times what they were, p = " in comparison.cells[0].checks[0].text
    assert comparison.cells[0].checks[0].text.endswith(" against 0.95")
