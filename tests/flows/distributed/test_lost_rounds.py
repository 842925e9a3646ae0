"""Rounds of a race whose workers are killed, lost or fail: no visit is lost or double, none fails in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines.types import ServerFailed
from flows.distributed import worker_rounds
from flows.distributed.object_store import open_store
from flows.execute import visits
from flows.orchestration import distributed
from flows.orchestration.deployment_runs import Rescheduled
from flows.orchestration.distributed import RoundLost
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
from tests.support.workers import Killed, install_workers

pytestmark = pytest.mark.usefixtures("race")


@pytest.mark.parametrize("after_publishing", [True, False])
def test_the_round_of_a_worker_that_was_killed_is_rescheduled(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, after_publishing: bool
) -> None:
    """Its first visit is published, or it is lost with the worker: then another worker makes it."""
    workers, made = install_workers(monkeypatch, workplace, "one", "two"), count_visits(monkeypatch)
    publish, kills = worker_rounds.publish_visits, []

    def killed_once(*arguments: Any) -> None:
        if after_publishing:
            publish(*arguments)
        if not kills:
            kills.append(workers.runs[-1])
            raise Killed
        if not after_publishing:
            publish(*arguments)

    monkeypatch.setattr(worker_rounds, "publish_visits", killed_once)
    trials = run_sweep(workplace, write_race_plan(workplace))
    assert len(kills) == 1
    assert workers.kinds() == ["checkpoint", "checkpoint", "cell", "cell", "round", "round", "round"]
    assert workers.runs[4][1] == workers.runs[5][1]
    assert rounds_of(trials) == ALL_ROUNDS
    for trial in trials.values():
        assert [visit["round"] for visit in trial.provenance["visits"]] == [2, 3]
        assert len(trial.speed[0].repeats) == len(trial.speed[0].rounds)
    assert sum(made.values()) == 6 + (not after_publishing)
    blocks = blocks_by_round(trials)
    hosts = {host for _, host, _ in blocks[2]}
    assert hosts == ({"one", "two"} if after_publishing else {"two"})
    assert len(blocks[2]) == len(hosts)
    assert not race_of(workplace).left


def test_a_killed_worker_publishes_after_all_what_it_had_finished(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its own next process gets the round."""
    install_workers(monkeypatch, workplace, "one")
    made, publish, kills = count_visits(monkeypatch), worker_rounds.publish_visits, []

    def killed_once(*arguments: Any) -> None:
        if not kills:
            kills.append(arguments)
            raise Killed
        publish(*arguments)

    monkeypatch.setattr(worker_rounds, "publish_visits", killed_once)
    trials = run_sweep(workplace, write_race_plan(workplace))
    assert made == ALL_VISITS
    assert {len(of_round) for number, of_round in blocks_by_round(trials).items() if number == 2} == {2}


def test_a_worker_that_lost_its_round_publishes_no_more_visits(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers, file = install_workers(monkeypatch, workplace), write_race_plan(workplace)
    made = count_visits(monkeypatch)

    def lost(store: Any, name: str) -> None:
        if name.startswith("rounds/"):
            raise Rescheduled(f"another has {name}")

    monkeypatch.setattr(distributed, "require_newest", lost)
    with pytest.raises(RoundLost, match=r"round 2 of the race was not visited to its end: other: another has rounds/"):
        run_sweep(workplace, file)
    assert not open_store(str(workplace / "store")).names("visits")
    assert sum(made.values()) == 1  # and it makes none any more
    assert workers.kinds()[-1] == "round"
    monkeypatch.setattr(distributed, "require_newest", lambda *_: None)
    assert run_sweep(workplace, file)["none"].speed[0].rounds == (1, 2, 3)


def test_a_visit_that_fails_on_a_worker_is_in_the_race_and_the_next_sweep_makes_it_again(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers, file = install_workers(monkeypatch, workplace, "one", "two"), write_race_plan(workplace)
    attempt = visits._attempt

    def fails(planned: visits._Planned) -> visits.Attempt:
        if planned.row.cell.quantization.method.name == "torn":
            raise ServerFailed("it said nothing", kind="crash-in-use")
        return attempt(planned)

    with monkeypatch.context() as failing:
        failing.setattr(visits, "_attempt", fails)
        trials = run_sweep(workplace, file)
    assert trials["torn"].speed[0].rounds == ()  # its first visit alone
    assert trials["none"].speed[0].rounds == (1, 2, 3)
    (left,) = race_of(workplace).left
    assert (left.failed, left.after_round, left.why) == (True, 2, "its visit failed: it said nothing")
    assert workers.kinds().count("round") == 2
    trials = run_sweep(workplace, file)
    assert trials["torn"].speed[0].rounds == (1, 2, 3)
    assert not race_of(workplace).left


def test_what_only_its_worker_lacks_makes_no_cell_leave(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers, attempt = install_workers(monkeypatch, workplace, "one", "two"), visits._attempt

    def no_memory_on_one(planned: visits._Planned) -> visits.Attempt:
        if planned.row.cell.quantization.method.name == "torn" and workers.runs[-1][0] == "one":
            raise ServerFailed("the kernel killed it", kind="out-of-memory")
        return attempt(planned)

    monkeypatch.setattr(visits, "_attempt", no_memory_on_one)
    trials = run_sweep(workplace, write_race_plan(workplace))
    assert trials["torn"].speed[0].rounds == (1, 2, 3)
    assert not race_of(workplace).left
    assert {visit["host"] for visit in trials["torn"].provenance["visits"]} == {"two"}


def test_what_all_workers_lack_makes_the_cell_leave(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers, attempt = install_workers(monkeypatch, workplace, "one", "two"), visits._attempt

    def no_memory(planned: visits._Planned) -> visits.Attempt:
        if planned.row.cell.quantization.method.name == "torn":
            raise ServerFailed("the kernel killed it", kind="out-of-memory")
        return attempt(planned)

    monkeypatch.setattr(visits, "_attempt", no_memory)
    run_sweep(workplace, write_race_plan(workplace))
    assert [left.why for left in race_of(workplace).left] == ["its visit failed: the kernel killed it"]
    assert workers.kinds().count("round") == 3 + 1  # the next round is without it


def test_a_round_that_no_worker_makes_ends_the_sweep_and_no_cell_leaves_for_it(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers, file = install_workers(monkeypatch, workplace, "one", "two"), write_race_plan(workplace)

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as lost:
        lost.setattr(worker_rounds, "publish_visits", killed)
        with pytest.raises(RoundLost, match=r"round 2 .* worker-lost: not rescheduled after 3 lost runs\. Sweep again"):
            run_sweep(workplace, file)
    assert workers.kinds().count("round") == 3
    assert not race_of(workplace).left
    assert run_sweep(workplace, file)["torn"].speed[0].rounds == (1, 2, 3)
