"""What a worker does, and a sweep whose pieces workers do; here they all work in this process, one after another."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

import flows.orchestration.distributed
from evals.schema.trial_file import read_trial
from flows import versions
from flows.distributed.leases import Ended, LeaseLost, Piece, RunState
from flows.distributed.object_store import Store, open_store
from flows.distributed.worker_tasks import (
    OtherWork,
    checkpoint_name,
    fetch_trial,
    find,
    make_checkpoint,
    measure_cell,
    trial_name,
)
from flows.execute.prepare import environments_of, prepare_sweep
from flows.execute.prepared import Prepared, Row
from flows.orchestration.distributed import DeploymentRuns
from flows.plan.source import load_plan
from flows.state.progress_display import LogDisplay
from flows.state.status import cell_states
from flows.validate.plan import check
from flows.validate.resolved import Sweep
from tests.support.fake_sweep import install, write_plan

QUIET = LogDisplay(lambda _: None)


class Here:
    """Workers that do each piece at once. `lose` is the number of attempts that end before they begin."""

    lose = 0
    attempts = 0

    def __init__(self, device: str) -> None:
        self.device = device

    def submit(self, piece: Piece, attempt: str) -> str:
        Here.attempts += 1
        if Here.attempts > Here.lose:
            kind = make_checkpoint if piece.name.startswith("checkpoints/") else measure_cell
            given = piece.parameters
            flows.orchestration.distributed._work(
                given["plan"], given["data_root"], open_store(given["store"]), piece.name, attempt, kind
            )
        return attempt

    def state(self, run: str) -> RunState:
        return Ended("lost")

    def give_up(self, run: str, why: str) -> None:
        raise AssertionError(why)


@pytest.fixture
def sweep(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    install(monkeypatch.setattr)
    return check(load_plan(write_plan(workplace, ["none", "raises", "other"])))


def _rows(sweep: Sweep) -> dict[str, Row]:
    rows = prepare_sweep(sweep, environments_of(sweep), Path("elsewhere"), QUIET).rows
    return {row.cell.quantization.method.name: row for row in rows}


def _lease(store: Store, name: str, attempt: str = "a") -> None:
    store.write(f"leases/{name}", {"attempt": attempt, "run": ""})


def _do(sweep: Sweep, store: Store, name: str) -> Prepared:
    _lease(store, name)
    prepared, row = find(sweep, name, QUIET)
    (make_checkpoint if name.startswith("checkpoints/") else measure_cell)(prepared, row, store, "a", QUIET)
    return prepared


def test_a_worker_makes_a_checkpoint_and_another_measures_with_it(
    sweep: Sweep, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, row = open_store(str(workplace / "store")), _rows(sweep)["none"]
    _do(sweep, store, checkpoint_name(row))
    assert store.has(checkpoint_name(row))
    monkeypatch.setenv("BITFRONTIER_CACHE", str(workplace / "another cache"))
    prepared = _do(sweep, store, trial_name(row))
    assert not list((workplace / "another cache" / "checkpoints").rglob("*.partial"))
    assert [trial.status for trial in map(read_trial, (prepared.folder / "trials").glob("*.json"))] == ["ok"]
    home = prepare_sweep(sweep, environments_of(sweep), workplace / "runs", QUIET)
    trial = fetch_trial(home, next(candidate for candidate in home.rows if candidate.key == row.key), store)
    assert trial is not None
    assert trial.status == "ok"
    assert [path.suffix for path in sorted((home.folder / "logs").iterdir())] == [".log"]


def test_a_worker_that_was_given_up_publishes_nothing(sweep: Sweep, workplace: Path) -> None:
    store, row = open_store(str(workplace / "store")), _rows(sweep)["none"]
    _lease(store, checkpoint_name(row), "another")
    prepared, own_row = find(sweep, checkpoint_name(row), QUIET)
    with pytest.raises(LeaseLost, match="was given to another worker"):
        make_checkpoint(prepared, own_row, store, "a", QUIET)
    assert not store.has(checkpoint_name(row))


def test_a_machine_that_would_do_something_else_refuses(
    sweep: Sweep, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = trial_name(_rows(sweep)["none"])
    monkeypatch.setattr(versions, "MEASUREMENT_VERSION", versions.MEASUREMENT_VERSION + 1)
    with pytest.raises(OtherWork, match=r"its plan, program, packages, data or device differ; bring them to the same"):
        find(sweep, name, QUIET)


def test_what_cannot_be_measured_is_not(sweep: Sweep, workplace: Path) -> None:
    store, row = open_store(str(workplace / "store")), _rows(sweep)["other"]
    with pytest.raises(OtherWork, match="cannot be measured: the fake engine reads no other format"):
        _do(sweep, store, trial_name(row))


@pytest.mark.usefixtures("prefect")
def test_a_sweep_over_workers_ends_like_any_other(
    sweep: Sweep, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.orchestration.sweep import sweep as flow

    monkeypatch.setattr(flows.orchestration.distributed, "DeploymentRuns", Here)
    monkeypatch.setattr(flows.orchestration.distributed, "get_run_logger", lambda: __import__("logging").getLogger())
    monkeypatch.setattr("flows.distributed.leases.POLL_SECONDS", 0.0)
    monkeypatch.setattr(Here, "lose", 1)
    monkeypatch.setattr(Here, "attempts", 0)
    given = {"plan": str(sweep.file), "runs": str(workplace / "runs"), "store": str(workplace / "store")}
    report = Path(flow(**given))  # type: ignore[arg-type]
    trials = {trial.method: trial for trial in map(read_trial, (report.parent / "trials").glob("*.json"))}
    assert {name: trial.status for name, trial in trials.items()} == {
        "none": "ok",
        "raises": "failed",
        "other": "unsupported",
    }
    assert "this method has no luck" in trials["raises"].reason
    assert Here.attempts == 4  # a lost one, two checkpoints, one cell: what has no checkpoint is not measured
    flow(**given)  # type: ignore[arg-type]
    assert Here.attempts == 4


@pytest.mark.usefixtures("prefect")
def test_while_a_worker_measures_status_and_prefect_tell(
    sweep: Sweep, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.orchestration.sweep import sweep as flow

    seen: list[dict[str, str]] = []
    bars: list[tuple[str, str, int]] = []
    moved: list[float] = []

    class Slow(Here):
        """The first look at a cell finds it running, the second one what came of it."""

        pieces: ClassVar[dict[str, Piece]] = {}

        def submit(self, piece: Piece, attempt: str) -> str:
            if piece.name.startswith("checkpoints/"):
                return super().submit(piece, attempt)
            self.pieces[attempt] = piece
            return attempt

        def state(self, run: str) -> RunState:
            if run not in self.pieces or seen:
                return Ended("done")
            if any(cell.state == "measuring" for cell in cell_states(workplace / "runs" / "fake")):
                seen.append({cell.cell: cell.state for cell in cell_states(workplace / "runs" / "fake")})
                super().submit(self.pieces[run], run)
                return Ended("done")
            return "running"

    def progress(name: str, stage: str, total: int) -> Callable[[float], None]:
        bars.append((name, stage, total))
        return moved.append

    monkeypatch.setattr(flows.orchestration.distributed, "DeploymentRuns", Slow)
    monkeypatch.setattr(flows.orchestration.distributed, "get_run_logger", lambda: __import__("logging").getLogger())
    monkeypatch.setattr(flows.orchestration.distributed.artifacts, "progress", progress)
    monkeypatch.setattr("flows.distributed.leases.POLL_SECONDS", 0.0)
    flow(plan=str(sweep.file), runs=str(workplace / "runs"), store=str(workplace / "store"))
    assert [*seen[0].values()] == ["measuring", "to do", "unsupported"]
    assert [cell.state for cell in cell_states(workplace / "runs" / "fake")] == ["ok", "failed", "unsupported"]
    assert bars == [("fake", "cells", 3)]
    assert moved == [1, 1, 1]


@pytest.mark.usefixtures("prefect")
def test_a_run_that_prefects_server_does_not_know_has_ended() -> None:
    state = DeploymentRuns("cpu").state(str(uuid.uuid4()))
    assert state == Ended("Prefect's server does not know its run")
