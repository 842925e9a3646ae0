"""Looks at a planted race: who leaves after which round, and how it ends. Nothing is measured here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evals.schema.race_file import Left, RaceState, Rules
from evals.schema.trial import Trial
from flows.race import look as looking
from flows.race.look import look, until
from reports.decision.results import conclude
from reports.output.race_view import race_view
from tests.support.made_races import noisy, raced, visited_speed
from tests.support.made_runs import write_run
from tests.support.made_trials import ABOUT

RULES = Rules(rounds=6, gap=0.03, alpha=0.05)
QUICK = 0.01


@pytest.fixture
def race(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def planted(trials: list[Trial], **about: Any) -> Any:
        folder = write_run(tmp_path, *trials, **about)
        monkeypatch.setattr(looking, "finished", lambda row: row)
        return SimpleNamespace(rows=tuple(trials), folder=folder)

    return planted


def _run(prepared: Any, rounds: int) -> list[RaceState]:
    states = [RaceState(RULES)]
    for number in range(1, rounds + 1):
        states.append(look(prepared, replace(states[-1], number=number)))
        if states[-1].ended:
            break
    return states


def test_the_slow_leave_after_the_third_round_and_the_fastest_wins(race: Any) -> None:
    """A slow cell with the worst quality and as much memory is on no frontier."""
    cells = [
        raced("none", noisy(50, 6, 1, QUICK), right=80),
        raced("rtn", noisy(100, 6, 2, QUICK), right=80, loss=2.01),
        raced("awq", noisy(20, 6, 3, QUICK), right=75, loss=2.05),
    ]
    states = _run(race(cells), 6)
    assert [state.ended for state in states] == [None, None, None, "winner"]
    assert not states[2].left
    gone = {cell.key: cell for cell in states[-1].left}
    assert cells[2].key in gone
    assert gone[cells[2].key].after_round == 3
    assert gone[cells[2].key].why.startswith("slower than another cell at every load (95 % CI)")
    assert cells[1].key not in gone


def test_a_cell_that_fails_a_limit_leaves_at_once(race: Any) -> None:
    cells = [raced("none", noisy(50, 6, 1)), raced("rtn", noisy(500, 6, 2), loss=3.0)]
    (_, first, *_) = _run(race(cells), 6)
    (left,) = first.left
    assert (left.key, left.after_round) == (cells[1].key, 1)
    assert left.why.startswith("fails: perplexity ratio 2.728")


def test_equal_speeds_end_as_equal(race: Any) -> None:
    cells = [
        raced("none", noisy(20, 6, 1, 0.002)),
        raced("rtn", noisy(50, 6, 2, 0.002), loss=2.01),
        raced("awq", noisy(50.2, 6, 3, 0.002), loss=2.01),
    ]
    last = _run(race(cells), 6)[-1]
    assert last.ended == "equal"
    assert last.equal == tuple(sorted(cell.key for cell in cells[1:]))


def test_noise_decides_nothing(race: Any) -> None:
    cells = [raced("none", noisy(50, 6, 1, 0.2)), raced("rtn", noisy(52, 6, 2, 0.2), loss=2.01)]
    states = _run(race(cells), 6)
    assert len(states) == 7
    assert states[-1].ended is None
    assert not states[-1].left


def test_the_first_one_and_its_nearest_rival_decide_most(race: Any) -> None:
    """Four that may all be the fastest; only what the plan wants to be best counts."""
    rates = {"none": 50.0, "rtn": 57.0, "awq": 60.0, "fp8": 54.0}
    shared = (1.0, 1.1, 0.92)
    cells = [
        raced(
            name,
            {number: rate * share * (1 + 0.04 * (-1) ** (number + place)) for number, share in enumerate(shared, 1)},
        )
        for place, (name, rate) in enumerate(rates.items())
    ]
    *_, second, third = _run(race(cells), 3)
    assert second.telling == ()
    assert third.ended is None
    assert third.telling == tuple(sorted((cells[1].key, cells[2].key)))


def test_a_race_without_cells_has_ended(race: Any) -> None:
    failing = replace(raced("none", noisy(50, 6, 1)), status="failed", reason="no", speed=())
    assert _run(race([failing]), 6)[-1].ended == "no contenders"


def test_who_has_left_does_not_come_back(race: Any) -> None:
    cells = [raced("none", noisy(50, 6, 1, QUICK)), raced("rtn", noisy(100, 6, 2, QUICK), loss=2.01)]
    prepared = race(cells)
    state = replace(RaceState(RULES), contenders={})
    state = look(prepared, replace(state.leaving(Left(cells[1].key, "rtn", "m", 2, "its visit failed")), number=3))
    assert state.ended == "winner"  # the only one that is left
    assert all(cells[1].key not in keys for keys in state.contenders.values())


def test_a_look_sees_no_later_round() -> None:
    cell = raced("none", {1: 10.0, 2: 20.0, 3: 40.0})
    seen = until(cell, 2).speed[0]
    assert seen.rounds == (1, 2)
    assert seen.repeats == cell.speed[0].repeats[:2]
    assert cell.memory is not None
    peaked = replace(cell, memory=replace(cell.memory, later_peaks=((2, 5), (3, 7))))
    assert until(peaked, 2).memory == replace(cell.memory, later_peaks=((2, 5),))
    assert until(cell, 3) == cell


def test_a_cell_whose_visit_failed_may_win_nothing() -> None:
    cells = [
        raced("none", noisy(50, 6, 1, QUICK)),
        raced("rtn", noisy(100, 6, 2, QUICK), loss=2.01),
        raced("awq", noisy(140, 2, 3, QUICK), loss=2.02),
    ]
    left = Left(cells[2].key, cells[2].name, "m", 3, "its visit failed: out of memory", failed=True)
    results = conclude(ABOUT, cells, race=RaceState(RULES, 3, (left,), "winner"))
    assert results.answer.won is not None
    assert results.answer.won.key == cells[1].key
    assert results.judged[2].verdict == "untrusted"
    assert results.judged[2].why == "its visit failed: out of memory (round 3)"


def _at_two_loads(method: str, calm: float, busy: float, loss: float) -> Trial:
    """Of enough requests for a p90 to have an interval."""
    visits = [visited_speed(noisy(rate, 6, round(10 * rate), 0.002), users) for rate, users in ((calm, 1), (busy, 4))]
    many = tuple(replace(speed, repeats=tuple(repeat * 40 for repeat in speed.repeats)) for speed in visits)
    return replace(raced(method, {1: 1.0}, loss=loss), speed=many)


def test_cells_that_are_equal_at_a_load_that_violates_the_slo_are_not_equal_at_another(race: Any) -> None:
    """At four users all violate it; alone, one cell is much faster than that of the best quality."""
    slo = {"ttft_seconds": None, "tpot_seconds": 0.018, "percentile": 90}
    cells = [
        _at_two_loads("none", 19, 20, 2.0),
        _at_two_loads("rtn", 100, 50, 2.02),
        _at_two_loads("awq", 60, 50.1, 2.01),
    ]
    prepared = race(cells, slo=slo)
    last = _run(prepared, 6)[-1]
    assert (last.ended, last.equal) == ("winner", ())
    results = conclude(
        {**ABOUT, "slo": slo}, cells, race=replace(last, ended="equal", equal=(cells[1].key, cells[2].key))
    )
    assert results.answer.won is not None
    assert (results.answer.won.key, results.answer.won.at) == (cells[1].key, "concurrency 1")
    view = race_view(results)
    assert view is not None
    assert view.certainties[0] is None or view.certainties[0].best > 0.9


def test_a_race_goes_on_among_those_that_meet_the_slo_where_one_that_may_is_faster(race: Any) -> None:
    """In two visits of the fastest some answers come at once, at their end: its p90 may be beyond the limit."""
    slo = {"ttft_seconds": 0.06, "tpot_seconds": None, "percentile": 90}

    def timed(method: str, rate: float, seed: int, late: int = 0) -> Trial:
        made = raced(method, noisy(rate, 6, seed), loss=2.0 if method == "none" else 2.002)
        first, second, *others = (repeat * 40 for repeat in made.speed[0].repeats)
        slow = [
            (*(replace(request, chunks=((request.end_seconds, 11),)) for request in repeat[:late]), *repeat[late:])
            for repeat in (first, second)
        ]
        return replace(made, speed=(replace(made.speed[0], repeats=(*slow, *others)),))

    cells = [timed("none", 25, 1), timed("rtn", 50, 4), timed("awq", 50.1, 5), timed("fp8", 100, 6, late=20)]
    last = _run(race(cells, slo=slo), 6)[-1]
    results = conclude({**ABOUT, "slo": slo}, cells, race=last)
    assert results.answer.won is not None
    assert results.answer.won.key in {cells[1].key, cells[2].key}
    assert results.answer.open_cells == ("fp8 · e",)
    assert (last.number, last.ended) == (6, None)


def test_a_cell_that_is_known_to_be_good_later_is_raced_from_then_on(race: Any) -> None:
    """As if it had been in doubt before: among those of known quality nobody has raced it yet."""
    cells = [raced("none", noisy(20, 6, 1, 0.05)), raced("rtn", noisy(50, 6, 2, 0.05), loss=2.01)]
    cells.append(raced("awq", noisy(50.2, 6, 3, 0.05), loss=2.01))
    prepared, late = race(cells), cells[2].key
    before = _run(prepared, 3)[-1]

    def without(keys: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        return {title: tuple(key for key in of_title if key != late) for title, of_title in keys.items()}

    doubtful = replace(before, contenders=without(before.contenders), raced=without(before.raced))
    assert all(late in keys for keys in look(prepared, replace(doubtful, number=4)).contenders.values())
    out = replace(before, contenders=without(before.contenders))
    assert not any(late in keys for keys in look(prepared, replace(out, number=4)).contenders.values())


def test_loads_of_one_name_are_raced_by_themselves(race: Any) -> None:
    """What differs between them, the prompts' shared beginning, is not in their names."""

    def shared(method: str, fresh: float, known: float, loss: float) -> Trial:
        made = _at_two_loads(method, known, fresh, loss)
        first, second = made.speed
        again = replace(first, load=replace(second.load, shared_prefix_tokens=5))
        return replace(made, speed=(second, again))

    cells = [shared("none", 20, 20, 2.0), shared("rtn", 100, 50, 2.02), shared("awq", 60, 90, 2.04)]
    last = _run(race(cells), 3)[-1]
    assert last.contenders["m: output tokens/s at concurrency 4, 10 / 11 tokens"] == (cells[1].key,)
    assert last.contenders["m: output tokens/s at concurrency 4, 10 / 11 tokens (2)"] == (cells[2].key,)
