"""Rates of two runs as one family: planted rounds, and how often some of them is judged wrongly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from evals.schema.trial import Trial
from reports.compare.rates import CommonChange, RateChange, rate_changes
from reports.compare.runs import Comparison, compare
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


def _compared(
    before: Results, after: Results, least: float = LEAST, changed: Sequence[str] = ()
) -> tuple[list[RateChange], CommonChange | None]:
    """By cells in their order, and of all of them; it is recorded that the `changed` methods are others than before."""
    unchanged = frozenset(cell.trial.key for cell in after.cells if cell.trial.method not in changed)
    compared = rate_changes(before, after, list(zip(before.cells, after.cells, strict=True)), least, unchanged)
    return list(compared.of_cells.values()), compared.common


def _slower(changes: Sequence[RateChange]) -> list[str]:
    return [
        method for method, change in zip(METHODS, changes, strict=True) if change.slower and change.adjusted <= 0.05
    ]


def _planted(
    generator: np.random.Generator,
    rounds: int,
    shares: Mapping[str, float] | float = 1.0,
    left: Mapping[str, int] | None = None,
    run: float = 0.0,
) -> Results:
    """Six cells with rounds that differ by 6 %, a run by `run`, and errors of 4 %, at shares of their rates; some left
    after a round.
    """
    of_cells = shares if isinstance(shares, Mapping) else dict.fromkeys(METHODS, shares)
    shared = 0.06 * generator.standard_normal(rounds) + run * generator.standard_normal()
    logs = shared + 0.04 * generator.standard_normal((len(METHODS), rounds))
    cells = {
        method: {number + 1: float(50 * of_cells.get(method, 1.0) * np.exp(log)) for number, log in enumerate(row)}
        for method, row in zip(METHODS, logs, strict=True)
    }
    stays = left or {}
    return _run(
        *(
            raced(method, {number: rate for number, rate in rates.items() if number <= stays.get(method, rounds)})
            for method, rates in cells.items()
        )
    )


@pytest.mark.parametrize(("rounds", "left"), [((4, 4), None), ((3, 8), None), ((6, 6), {"awq": 3, "gptq": 4})])
def test_of_all_rates_some_is_judged_wrongly_in_five_percent_of_comparisons_at_most(
    rounds: tuple[int, int], left: Mapping[str, int] | None
) -> None:
    """At the least share that passes neither verdict is right; two standard errors of 100 are 4 %."""
    generator, sweeps, families, singles = np.random.default_rng(7), 100, 0, 0
    for _ in range(sweeps):
        changes, _ = _compared(_planted(generator, rounds[0]), _planted(generator, rounds[1], LEAST, left))
        assert len(changes) == len(METHODS)
        families += any(change.adjusted <= 0.05 for change in changes)
        singles += changes[0].p_value <= 0.05
    assert families / sweeps <= 0.05 + 0.04
    assert singles / sweeps <= 0.05 + 0.04


def test_a_slower_machine_is_no_regression_of_any_cell() -> None:
    """Runs that differ by 10 % as a whole: no cell is called slower, nor are all of them, beyond their error rates."""
    generator, sweeps, cells, together = np.random.default_rng(8), 60, 0, 0
    for _ in range(sweeps):
        runs = [_planted(generator, 4, run=0.1) for _ in range(2)]
        changes, common = _compared(*runs)
        assert common is not None
        cells += bool(_slower(changes))
        together += common.p_value <= 0.05 and common.ratio.value < LEAST
    assert cells / sweeps <= 0.05
    assert together / sweeps <= 0.05


@pytest.mark.parametrize("machine", [0.85, 1.0, 1.2])
def test_a_cell_that_lost_a_fifth_is_found_whatever_the_machine_did(machine: float) -> None:
    generator = np.random.default_rng(1)
    shares = {method: machine * (0.75 if method == "awq" else 1.0) for method in METHODS}
    changes, _ = _compared(_planted(generator, 8), _planted(generator, 8, shares))
    assert _slower(changes) == ["awq"]
    (lost,) = (change for method, change in zip(METHODS, changes, strict=True) if method == "awq")
    assert lost.relative is not None
    assert lost.relative.low < 0.75 < lost.relative.high < 0.95


def test_all_cells_that_are_slower_alike_are_not_slower_than_each_other() -> None:
    generator = np.random.default_rng(1)
    changes, common = _compared(_planted(generator, 8), _planted(generator, 8, 0.8))
    assert _slower(changes) == []
    assert common is not None
    assert common.seen.low < 0.8 < common.seen.high < LEAST
    assert common.ratio.low < 0.8 < 1 < common.ratio.high
    assert common.p_seen < 0.05 < common.p_value
    _, halved = _compared(_planted(generator, 8), _planted(generator, 8, 0.5))
    assert halved is not None
    assert halved.p_value < 0.05
    assert halved.ratio.value < 0.6


def test_where_the_others_became_faster_a_cell_that_did_not_is_not_slower() -> None:
    """The others are known to be other ones: relative to them it is slower, and as it is it is not."""
    generator, others = np.random.default_rng(2), [method for method in METHODS if method != "awq"]
    runs = _planted(generator, 8), _planted(generator, 8, dict.fromkeys(others, 1.4))
    assert _slower(_compared(*runs)[0]) == ["awq"]
    assert _slower(_compared(*runs, changed=others)[0]) == []
    lost = _planted(generator, 8), _planted(generator, 8, dict.fromkeys(METHODS[:4], 0.7))
    assert _slower(_compared(*lost)[0]) == []  # four of six: nothing says who changed
    assert _slower(_compared(*lost, changed=METHODS[:4])[0]) == list(METHODS[:4])


def test_the_same_rates_are_no_change() -> None:
    before = _planted(np.random.default_rng(1), 8)
    again = _run(
        *(replace(cell.trial, speed=tuple(replace(s, clients=()) for s in cell.trial.speed)) for cell in before.cells)
    )
    changes, common = _compared(before, again)
    assert (changes, common) == ([], None)  # nothing was measured twice
    checks = [cell.checks[0] for cell in compare(before, again).cells]
    assert {(check.state, check.text) for check in checks} == {("PASS", "the same measurement")}


def test_rounds_that_were_slower_as_a_whole_are_no_certainty() -> None:
    """Cells compare well within a run; from run to run they share what its rounds had."""
    quiet = {method: {n: 50.0 + n / 100 for n in range(1, 5)} for method in METHODS}
    slow = {method: {n: 50.0 * share for n, share in enumerate((1.0, 0.8, 0.9, 0.75), 1)} for method in METHODS}
    changes, common = _compared(
        *(_run(*(raced(method, rates) for method, rates in run.items())) for run in (quiet, slow))
    )
    assert common is not None
    assert common.p_seen > 0.05
    for change in changes:
        assert change.p_value > 0.05
        assert change.ratio.low < LEAST < change.ratio.high


def _held(share: float, **facts: str) -> Comparison:
    before = [raced(method, {1: 50.0, 2: 51.0, 3: 49.0}) for method in METHODS]
    after = [raced(method, {1: 50.0 * share, 2: 50.9 * share, 3: 49.1 * share}) for method in METHODS]
    return compare(_run(*before), _run(*(replace(made, facts=facts) for made in after)))


def test_where_all_rates_are_slower_alike_it_is_said() -> None:
    """By how much a machine's hours differ there is no verdict; where something else changed, the exit code says so."""
    same, slower, updated, halved = _held(1.0), _held(0.9), _held(0.9, version="2"), _held(0.5)
    assert (same.exit_code, slower.exit_code, updated.exit_code, halved.exit_code) == (0, 0, 3, 1)
    commons = [made.common for made in (same, slower, updated, halved)]
    assert [check.state for check in commons if check] == ["PASS", "INCONCLUSIVE", "INCONCLUSIVE", "REGRESSION"]
    texts = [check.text for check in commons if check]
    assert texts[1].startswith("0.9 [0.8")
    assert texts[1].endswith("allowing for how a machine varies from hour to hour: suspect that hour of the machine")
    assert texts[2].endswith("suspect that hour of the machine, or what changed")
    assert texts[3].endswith("slower by more than the machine varies from hour to hour")
    assert slower.count("REGRESSION") == slower.count("PASS") == 0
    alone = _run(raced("none", {1: 50.0, 2: 51.0, 3: 49.0}))
    assert compare(alone, _run(raced("none", {1: 50.0, 2: 51.0, 3: 48.0}))).common is None


def test_a_rate_alone_is_slower_where_no_machine_explains_it() -> None:
    for rate, slower in ((44.0, False), (20.0, True)):
        runs = [_run(raced("none", {n: mean + n / 10 for n in range(1, 5)})) for mean in (50.0, rate)]
        ((change,), common) = _compared(*runs)
        assert change.relative is None
        assert common is None
        assert (change.slower and change.adjusted <= 0.05) == slower


def test_repeats_of_one_server_have_what_differs_between_servers() -> None:
    """Three repeats that agree to 1 % say nothing of another start; many cells that agree say how much it is."""
    few, many = (
        _compared(
            *(
                _run(
                    *(
                        replace(trial(f"{n}", 1, 1.0, 50), speed=(speed(rate, wobble=0.005 + n / 1e4),))
                        for n, rate in rates
                    )
                )
                for rates in (
                    [(n, 10.0) for n in range(cells)],
                    [(n, 8.6 if n == 0 else 10.0 + n / 100) for n in range(cells)],
                )
            )
        )[0]
        for cells in (2, 20)
    )
    assert few[0].adjusted > 0.05
    assert (many[0].slower, many[0].adjusted <= 0.05) == (True, True)


def test_a_rate_without_a_spread_of_its_own_is_not_judged() -> None:
    once = [replace(trial("none", rate, 1.0, 50), speed=(visited_speed({1: rate}),)) for rate in (10.0, 2.0)]
    ((change,), _) = _compared(_run(once[0]), _run(once[1]))
    assert (change.p_value, change.ratio.high) == (1.0, float("inf"))


def test_the_p_value_and_how_rates_are_judged_are_said() -> None:
    comparison = compare(*(_planted(np.random.default_rng(seed), 4) for seed in (3, 4)))
    assert comparison.rates_by.endswith("after Holm's correction over all rates.")
    text = comparison.cells[0].checks[0].text
    assert " × the earlier rate, " in text
    assert " relative to the other cells, p = " in text
    assert text.endswith(" against 0.95")


def test_how_fast_known_work_was_is_said_beside_all_rates() -> None:
    """It is another witness of the machine's hour."""
    runs = []
    for copied in (10.0, 8.0):
        made = [raced(method, {n: 5 * copied + n / 10 for n in range(1, 4)}) for method in METHODS]
        facts = [{**made[0].provenance["visits"][0], "sentinel": {"hashed": 3.0, "copied": copied}}]
        runs.append(_run(*(replace(trial, provenance={"visits": facts}) for trial in made)))
    common = compare(*runs).common
    assert common is not None
    assert common.text.endswith(
        ": suspect that hour of the machine; the reference computation before visits was 1.00 times as fast (hashing) and 0.80 "
        "times as fast (copying)"
    )
