"""What a worker does, and a sweep that workers measure; here they all work in this process, one after another."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import flows.orchestration.distributed
from engines.runtime.cache import cache_folder
from evals.schema.trial import Failure
from evals.schema.trial_file import read_trial
from flows import versions
from flows.distributed.object_store import Store, open_store
from flows.distributed.worker_tasks import (
    Made,
    OtherWork,
    checkpoint_name,
    fetch_parts,
    fetch_trial,
    find,
    make_checkpoint,
    measure_cell,
    trial_name,
)
from flows.execute import rows, served_parts
from flows.execute.manifest import describe
from flows.execute.prepare import environments_of, prepare_sweep
from flows.execute.prepared import Row
from flows.orchestration.deployment_runs import NO_RESULT, WORKER_FAILED, Rescheduled, Work
from flows.orchestration.distributed import Source
from flows.plan.source import PlanError, Problem, load_plan
from flows.state.locks import hold
from flows.state.progress_display import LogDisplay
from flows.state.status import cell_states
from flows.validate.plan import check
from flows.validate.resolved import ResolvedPlan
from quant.errors import CellFailure
from tests.support.fake_sweep import install, write_plan
from tests.support.workers import Workers, install_workers

QUIET = LogDisplay(lambda _: None)


@pytest.fixture
def sweep(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> ResolvedPlan:
    install(monkeypatch.setattr)
    return check(load_plan(write_plan(workplace, ["none", "raises", "other"])))


def _rows(sweep: ResolvedPlan) -> dict[str, Row]:
    rows = prepare_sweep(sweep, environments_of(sweep), Path("elsewhere"), QUIET).rows
    return {row.cell.quantization.method.name: row for row in rows}


def _do(sweep: ResolvedPlan, store: Store, name: str) -> Path:
    """The folder with what a worker made."""
    make = make_checkpoint if name.startswith("checkpoints/") else measure_cell
    made = make(sweep, name, store, QUIET)
    assert not isinstance(made, Failure)
    store.publish(name, *made)
    return made[0]


def test_a_worker_makes_a_checkpoint_and_another_measures_with_it(
    sweep: ResolvedPlan, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, row = open_store(str(workplace / "store")), _rows(sweep)["none"]
    _do(sweep, store, checkpoint_name(row))
    assert store.has(checkpoint_name(row))
    monkeypatch.setenv("BITFRONTIER_CACHE", str(workplace / "another cache"))
    folder = _do(sweep, store, trial_name(row))
    assert not list((workplace / "another cache" / "checkpoints").rglob("*.partial"))
    assert [trial.status for trial in map(read_trial, (folder / "trials").glob("*.json"))] == ["ok"]
    home = prepare_sweep(sweep, environments_of(sweep), workplace / "runs", QUIET)
    trial = fetch_trial(home, next(candidate for candidate in home.rows if candidate.key == row.key), store)
    assert trial is not None
    assert trial.status == "ok"
    assert [path.suffix for path in sorted((home.folder / "logs").iterdir())] == [".log"]


def _with(sweep: ResolvedPlan, **changes: object) -> ResolvedPlan:
    """The same plan with other values of some keys."""
    file = sweep.file.parent / "plan.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **changes}))
    return check(load_plan(file))


TWO_USERS = {"concurrency": 2, "requests": 2, "prompt_tokens": 4, "output_tokens": 4}


def test_parts_of_an_older_trial_are_not_measured_again_by_another_machine(
    sweep: ResolvedPlan, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = _with(sweep, methods=[{"method": "none"}])
    store, row = open_store(str(workplace / "store")), _rows(sweep)["none"]
    _do(sweep, store, checkpoint_name(row))
    first = read_trial(next((_do(sweep, store, trial_name(row)) / "trials").glob("*.json")))
    monkeypatch.setenv("BITFRONTIER_CACHE", str(workplace / "another cache"))
    wanted = _with(sweep, load=[TWO_USERS])
    folder = _do(wanted, store, trial_name(_rows(wanted)["none"]))
    second = read_trial(next((folder / "trials").glob("*.json")))
    assert second.speed[0].load.concurrency == 2
    origins = [trial.provenance["parts"]["task arc_easy"] for trial in (first, second)]
    assert origins[0] == origins[1]  # to the second in which it was measured
    monkeypatch.setattr(rows, "measure_row", lambda *_: pytest.fail("all parts are in the store"))
    both = _with(sweep, load=[*yaml.safe_load(write_plan(workplace, ["none"]).read_text())["load"], TWO_USERS])
    prepared = prepare_sweep(both, environments_of(both), workplace / "runs", QUIET)
    describe(prepared)
    fetch_parts(prepared, prepared.rows, store)
    trial = rows.finished(prepared.rows[0])
    assert trial is not None
    assert [speed.load.concurrency for speed in trial.speed] == [1, 2]


def test_parts_of_a_cell_that_failed_are_kept_for_all_machines(
    sweep: ResolvedPlan, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ValueError("this task has no luck")

    store, row = open_store(str(workplace / "store")), _rows(sweep)["none"]
    _do(sweep, store, checkpoint_name(row))
    monkeypatch.setattr(served_parts, "score_task", fails)
    failure = measure_cell(sweep, trial_name(row), store, QUIET)
    assert isinstance(failure, Failure)
    assert store.names("parts") == {f"parts/{part.key}" for part in row.parts if not part.name.startswith("task ")}


def test_a_worker_whose_work_was_rescheduled_publishes_nothing(
    sweep: ResolvedPlan, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(store: Store, name: str) -> None:
        raise Rescheduled(f"another has {name}")

    store, name = open_store(str(workplace / "store")), checkpoint_name(_rows(sweep)["none"])
    install_workers(monkeypatch, workplace)
    monkeypatch.setattr(flows.orchestration.distributed, "require_newest", refuse)
    state = flows.orchestration.distributed._make(make_checkpoint, Source(str(sweep.file)), store.url, name)
    assert (state.name, json.loads(state.message or "")["cause"]) == (NO_RESULT, f"another has {name}")
    assert not store.has(name)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "full-disk"),
        (CellFailure("the kernel killed it", kind="out-of-memory"), "out-of-memory"),
        (OtherWork("another plan"), "worker-mismatch"),
        (PlanError(Path("plan.yaml"), [Problem(1, "no such image", "pull it")]), "worker-mismatch"),
    ],
)
def test_what_one_worker_lacks_is_not_said_of_all(
    sweep: ResolvedPlan, workplace: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str
) -> None:
    def fails(*_: object) -> Made:
        raise error

    install_workers(monkeypatch, workplace)
    name = checkpoint_name(_rows(sweep)["none"])
    state = flows.orchestration.distributed._make(fails, Source(str(sweep.file)), str(workplace / "store"), name)
    assert (state.name, json.loads(state.message or "")["kind"]) == (WORKER_FAILED, kind)


def test_a_machine_that_would_do_something_else_refuses(
    sweep: ResolvedPlan, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = trial_name(_rows(sweep)["none"])
    monkeypatch.setattr(versions, "MEASUREMENT_VERSION", versions.MEASUREMENT_VERSION + 1)
    with pytest.raises(OtherWork, match=rf"else than {name}: its plan, versions, .* differ from those of the sweep"):
        find(sweep, name, QUIET)
    assert (cache_folder() / "cells" / "fake" / "sweep.json").exists()  # for `bitfrontier plan`, which shows its keys


def test_what_cannot_be_measured_is_not(sweep: ResolvedPlan, workplace: Path) -> None:
    store, row = open_store(str(workplace / "store")), _rows(sweep)["other"]
    with pytest.raises(OtherWork, match="cannot be measured: the fake engine reads no other format"):
        _do(sweep, store, trial_name(row))


@pytest.mark.usefixtures("prefect")
def test_a_sweep_over_workers_ends_like_any_other(
    sweep: ResolvedPlan, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.orchestration.sweep import sweep as flow

    workers = install_workers(monkeypatch, workplace)
    given = {"plan": str(sweep.file), "runs": str(workplace / "runs"), "store": str(workplace / "store")}
    report = Path(flow(**given))  # type: ignore[arg-type]
    trials = {trial.method: trial for trial in map(read_trial, (report.parent / "trials").glob("*.json"))}
    assert {name: trial.status for name, trial in trials.items()} == {
        "none": "ok",
        "raises": "failed",
        "other": "unsupported",
    }
    assert "this method has no luck" in trials["raises"].reason
    assert workers.kinds() == ["checkpoint", "checkpoint", "cell"]  # what has no checkpoint is not measured
    flow(**given)  # type: ignore[arg-type]
    assert len(workers.runs) == 3


@pytest.mark.usefixtures("prefect")
def test_while_a_worker_measures_status_and_prefect_tell(
    sweep: ResolvedPlan, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.orchestration.sweep import sweep as flow

    seen: list[dict[str, str]] = []
    bars: list[tuple[str, str, int]] = []
    moved: list[float] = []

    def seen_at_each_cell(runs: Workers, work: Work) -> Failure | None:
        if work.running_lock is not None:
            with hold(work.running_lock):
                seen.append({cell.cell: cell.state for cell in cell_states(workplace / "runs" / "fake")})
        return made(runs, work)

    def progress(name: str, stage: str, total: int) -> Callable[[float], None]:
        bars.append((name, stage, total))
        return moved.append

    made = Workers._made
    monkeypatch.setattr(install_workers(monkeypatch, workplace), "_made", seen_at_each_cell)
    monkeypatch.setattr(flows.orchestration.distributed.artifacts, "progress", progress)
    flow(plan=str(sweep.file), runs=str(workplace / "runs"), store=str(workplace / "store"))
    assert [*seen[0].values()] == ["measuring", "to do", "unsupported"]
    assert [cell.state for cell in cell_states(workplace / "runs" / "fake")] == ["ok", "failed", "unsupported"]
    assert bars == [("fake", "cells", 3)]
    assert moved == [1, 1, 1]
