"""A race whose rounds workers make; all of them work in this process, one after another, over a fake engine."""

from __future__ import annotations

from pathlib import Path

import pytest

import flows.orchestration.sweep
from flows import versions
from flows.distributed.object_store import StoreError, open_store
from flows.distributed.worker_rounds import ORDERS, Order, make_round, visit_name
from flows.distributed.worker_tasks import OtherWork
from flows.execute.prepare import environments_of, prepare_sweep
from flows.orchestration import distributed
from flows.orchestration.deployment_runs import NO_RESULT
from flows.plan.source import load_plan
from flows.race.contenders import Entry
from flows.race.until_decided import Step
from flows.state.progress_display import LogDisplay
from flows.validate.plan import check
from tests.support.worker_races import (
    ALL_ROUNDS,
    ALL_VISITS,
    blocks_by_round,
    count_visits,
    race_of,
    rounds_of,
    run_sweep,
    write_race_plan,
)
from tests.support.workers import install_workers

pytestmark = pytest.mark.usefixtures("race")


QUIET = LogDisplay(lambda _: None)


def test_each_round_is_made_by_one_worker(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers, made = install_workers(monkeypatch, workplace, "one", "two"), count_visits(monkeypatch)
    file = write_race_plan(workplace)
    trials = run_sweep(workplace, file)
    assert rounds_of(trials) == ALL_ROUNDS
    assert workers.kinds() == ["checkpoint", "checkpoint", "cell", "cell", "round", "round"]
    assert made == ALL_VISITS
    blocks = blocks_by_round(trials)
    assert {number: len(of_round) for number, of_round in blocks.items()} == {1: 2, 2: 1, 3: 1}
    assert {host for of_round in (blocks[2], blocks[3]) for _, host, _ in of_round} == {"one", "two"}
    state = race_of(workplace)
    assert (state.number, state.ended, state.left) == (3, "rounds", ())
    places = {
        visit["place"] for trial in trials.values() for visit in trial.provenance["visits"] if visit["round"] == 2
    }
    assert places == {1, 2, 3}
    assert run_sweep(workplace, file) == trials
    assert len(workers.runs) == 6
    assert made == ALL_VISITS


def test_a_race_that_was_begun_on_one_machine_goes_on_on_workers(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finished visits are not made again, and checkpoints that the store lacks are made before the round."""
    run_sweep(workplace, write_race_plan(workplace), store=False)
    workers, made = install_workers(monkeypatch, workplace), count_visits(monkeypatch)
    trials = run_sweep(workplace, write_race_plan(workplace, rounds=4))
    assert trials["torn"].speed[0].rounds == (1, 2, 3, 4)
    assert workers.kinds() == ["checkpoint", "checkpoint", "round"]
    assert {number for *_, number in made} == {4}
    store = open_store(str(workplace / "store"))
    assert len(store.names("visits")) == 9


def test_another_sweep_finds_the_visits_in_the_store(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers, file = install_workers(monkeypatch, workplace), write_race_plan(workplace)
    trials = run_sweep(workplace, file)
    (workplace / "runs" / "fake").rename(workplace / "before")
    count = len(workers.runs)
    again = run_sweep(workplace, file)
    assert len(workers.runs) == count
    assert {name: trial.speed for name, trial in again.items()} == {name: trial.speed for name, trial in trials.items()}


def test_minutes_end_a_race_on_workers_too(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = install_workers(monkeypatch, workplace)
    run_sweep(workplace, write_race_plan(workplace, rounds=9, minutes=1e-4))
    assert (race_of(workplace).ended, race_of(workplace).number) == ("minutes", 2)
    assert workers.kinds().count("round") == 1


def test_a_sweep_until_decided_has_workers_make_more_rounds(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers, steps = install_workers(monkeypatch, workplace), [Step(("race.rounds=4",), ("noise",), None), None]
    made = count_visits(monkeypatch)
    monkeypatch.setattr(flows.orchestration.sweep, "next_step", lambda *_: steps.pop(0))
    trials = run_sweep(workplace, write_race_plan(workplace), until_decided=True)
    assert trials["none"].speed[0].rounds == (1, 2, 3, 4)
    assert workers.kinds().count("round") == 3
    assert set(made.values()) == {1}


def test_a_worker_refuses_a_round_of_something_else(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = check(load_plan(write_race_plan(workplace)))
    rows = prepare_sweep(checked, environments_of(checked), workplace / "runs", QUIET).rows
    store, order = open_store(str(workplace / "store")), Order(2, tuple(visit_name(Entry(row), 2) for row in rows))
    store.publish_record(order.order_name, order)
    assert store.record(order.order_name, ORDERS) == order
    monkeypatch.setattr(versions, "MEASUREMENT_VERSION", versions.MEASUREMENT_VERSION + 1)
    with pytest.raises(OtherWork, match=rf"would measure something else than {order.visits[0]}"):
        make_round(checked, order.name, store, QUIET, lambda: None)


def test_an_order_that_is_none_is_refused(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_workers(monkeypatch, workplace)
    checked, store = check(load_plan(write_race_plan(workplace))), open_store(str(workplace / "store"))
    store.publish_record("orders/k", {"number": 2, "visits": ["../elsewhere"]})
    with pytest.raises(StoreError, match=r"orders/k.json: it is damaged .* Delete it there"):
        make_round(checked, "rounds/k", store, QUIET, lambda: None)
    state = distributed.race_round.fn(distributed.Source(str(checked.file)), store.url, "rounds/k")
    assert state.name == NO_RESULT
