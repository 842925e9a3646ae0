"""Work on workers that are lost: runs and states are those of a Prefect server, its workers are scripts."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.events import emit_event
from prefect.states import Completed, Crashed, Running

import flows.orchestration.deployment_runs as module
from evals.schema.trial import Failure
from flows.distributed.object_store import Store, open_store
from flows.orchestration.deployment_runs import (
    ATTEMPTS,
    NO_RESULT,
    DeploymentRuns,
    NotDeployed,
    Rescheduled,
    Work,
    ended,
    require_newest,
)
from flows.state.locks import is_held

NAME = "trials/k"
Script = Callable[[int, FlowRun], State | None]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.0)
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def client(prefect: None) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        client.create_deployment(flow_id=client.create_flow_from_name("cell"), name="cpu")
        yield client


def _runs(client: SyncPrefectClient, store: Store) -> list[FlowRun]:
    return module._runs_of(client, f"{store.url}/{NAME}")


def _finish(store: Store, tmp_path: Path) -> State:
    (tmp_path / "trial.json").write_text("{}")
    store.publish(NAME, tmp_path, ["trial.json"])
    return Completed()


def _have_done(
    monkeypatch: pytest.MonkeyPatch, store: Store, script: Script | None = None, lock: Path | None = None
) -> tuple[Failure | None, list[str]]:
    """`script` says of (looks so far, run) what state the run gets before the next look."""
    messages: list[str] = []
    looks, read = itertools.count(), module._read

    def disturbed(client: SyncPrefectClient, runs: list[UUID]) -> dict[UUID, FlowRun]:
        run = client.read_flow_run(runs[0])
        if script is not None and (state := script(next(looks), run)) is not None:
            client.set_flow_run_state(run.id, state, force=True)
        return read(client, runs)

    monkeypatch.setattr(module, "_read", disturbed)
    runs = DeploymentRuns("cpu", store, {"plan": "plan.yaml"}, messages.append)
    results = list(runs.results([Work("cell", NAME, "rtn · vllm", lock)]))
    assert [work.name for work, _ in results] == [NAME]
    monkeypatch.setattr(module, "_read", read)
    return results[0][1], messages


def _clock(monkeypatch: pytest.MonkeyPatch, step_seconds: float) -> None:
    seconds = itertools.count(0.0, step_seconds)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(seconds) / 2, sleep=lambda _: None))


def test_a_deployment_that_is_missing_is_said_before_any_work(client: SyncPrefectClient, store: Store) -> None:
    runs = DeploymentRuns("cpu", store, {}, print)
    runs.require_deployments(["cell"])
    with pytest.raises(
        NotDeployed, match=r"no deployment round/cpu\. Run `prefect deploy --all --prefect-file prefect-"
    ):
        runs.require_deployments(["cell", "round"])


def test_what_is_done_is_not_run(
    client: SyncPrefectClient, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _finish(store, tmp_path)
    assert _have_done(monkeypatch, store) == (None, [])
    assert not _runs(client, store)


def test_one_run_is_enough_where_nothing_is_lost(
    client: SyncPrefectClient, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, held = tmp_path / "running" / "k.lock", []

    def script(look: int, run: FlowRun) -> State | None:
        held.append(is_held(lock))
        return Running() if look == 1 else _finish(store, tmp_path) if look == 3 else None

    assert _have_done(monkeypatch, store, script, lock) == (None, [])
    (run,) = _runs(client, store)
    assert run.name == "rtn · vllm"
    assert run.parameters == {"plan": "plan.yaml", "store": store.url, "name": NAME}
    assert run.job_variables == {"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}}
    assert held == [False, False, True, True]
    assert not is_held(lock)


def test_a_run_that_crashed_is_rescheduled(
    client: SyncPrefectClient, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason, messages = _have_done(
        monkeypatch, store, lambda look, _: _finish(store, tmp_path) if look else Crashed(message="exit code -9")
    )
    assert (reason, messages) == (None, ["rtn · vllm is rescheduled: exit code -9"])
    assert len(_runs(client, store)) == 2


def test_a_run_without_heartbeat_is_rescheduled_and_may_not_publish(
    client: SyncPrefectClient, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _clock(monkeypatch, 10.0)
    reason, messages = _have_done(
        monkeypatch,
        store,
        lambda _, run: Running() if run.id == _runs(client, store)[0].id else _finish(store, tmp_path),
    )
    assert (reason, messages) == (None, ["rtn · vllm is rescheduled: worker heartbeat lost (no heartbeat for 90 s)"])
    lost, newest = _runs(client, store)
    assert lost.state is not None
    assert lost.state.is_crashed()
    client.set_flow_run_state(lost.id, Running(), force=True)  # it was paused, and goes on
    monkeypatch.setattr(module, "flow_run", SimpleNamespace(get_id=lambda: str(lost.id)))
    with pytest.raises(Rescheduled, match=r"trials/k was rescheduled, since the heartbeat .* nothing is published"):
        require_newest(store, NAME)
    monkeypatch.setattr(module, "flow_run", SimpleNamespace(get_id=lambda: str(newest.id)))
    require_newest(store, NAME)


def test_heartbeats_keep_a_run(
    client: SyncPrefectClient, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _clock(monkeypatch, 10.0)
    monkeypatch.setattr(module, "_last_heartbeat", lambda *_: uuid4())
    reason, messages = _have_done(
        monkeypatch, store, lambda look, _: Running() if look < 40 else _finish(store, tmp_path)
    )
    assert (reason, messages) == (None, [])


def test_the_silence_of_the_server_is_no_workers(
    client: SyncPrefectClient, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _clock(monkeypatch, 1000.0)  # each look takes as long: what counts is 5 s
    reason, messages = _have_done(
        monkeypatch, store, lambda look, _: Running() if look < 15 else _finish(store, tmp_path)
    )
    assert (reason, messages) == (None, [])


def test_a_server_that_is_away_is_asked_again(
    client: SyncPrefectClient, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(look: int, run: FlowRun) -> State | None:
        if look < 2:
            raise httpx.ConnectError("Connection refused")
        return _finish(store, tmp_path)

    reason, messages = _have_done(monkeypatch, store, script)
    assert (reason, messages) == (None, ["Prefect's server does not answer; workers continue: Connection refused"] * 2)


@pytest.mark.parametrize(("code", "is_absence"), [(503, True), (500, True), (403, False)])
def test_a_gateway_that_answers_for_the_server_is_an_absence_too(
    code: int,
    is_absence: bool,
    client: SyncPrefectClient,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = httpx.Request("POST", "http://127.0.0.1:9/api")

    def script(look: int, run: FlowRun) -> State | None:
        if look < 1:
            raise httpx.HTTPStatusError("refused", request=request, response=httpx.Response(code, request=request))
        return _finish(store, tmp_path)

    if is_absence:
        _, messages = _have_done(monkeypatch, store, script)
        assert messages == ["Prefect's server does not answer; workers continue: refused"]
    else:
        with pytest.raises(httpx.HTTPStatusError, match="refused"):
            _have_done(monkeypatch, store, script)


def test_the_last_heartbeat_is_read_from_prefect(client: SyncPrefectClient) -> None:
    run, seen = uuid4(), []
    for _ in range(2):
        event = emit_event("prefect.flow-run.heartbeat", resource={"prefect.resource.id": f"prefect.flow-run.{run}"})
        assert event is not None
        deadline = time.monotonic() + 60
        while module._last_heartbeat(client, run) != event.id:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        seen.append(event.id)
    assert seen[0] != seen[1]
    assert module._last_heartbeat(client, uuid4()) is None


def test_in_the_end_it_is_not_rescheduled(
    client: SyncPrefectClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason, messages = _have_done(monkeypatch, store, lambda *_: Crashed(message="exit code -9"))
    assert reason is not None
    assert (reason.kind, reason.cause) == ("worker-lost", "not rescheduled after 3 lost runs: exit code -9")
    assert len(messages) == ATTEMPTS - 1
    assert len(_runs(client, store)) == ATTEMPTS


def test_where_no_worker_could_do_it_nothing_is_rescheduled(
    client: SyncPrefectClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = Failure("method-failed", "the method raised", "change it")
    state = ended(failure)
    assert state.name == NO_RESULT
    assert _have_done(monkeypatch, store, lambda *_: state) == (failure, [])
    assert len(_runs(client, store)) == 1


def test_what_one_worker_lacks_another_may_have(
    client: SyncPrefectClient, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = ended(Failure("full-disk", "No space left on device", "free some"))
    reason, messages = _have_done(monkeypatch, store, lambda look, _: _finish(store, tmp_path) if look else full)
    assert (reason, messages) == (None, ["rtn · vllm is rescheduled: full-disk: No space left on device"])
    assert len(_runs(client, store)) == 2


def test_what_all_workers_lacked_is_the_failure(
    client: SyncPrefectClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = ended(Failure("out-of-memory", "the kernel killed it", "less"))
    reason, messages = _have_done(monkeypatch, store, lambda *_: state)
    assert reason is not None
    assert (reason.kind, reason.cause) == (
        "out-of-memory",
        f"on {ATTEMPTS} runs, on whichever workers were free: the kernel killed it",
    )
    assert len(messages) == ATTEMPTS - 1


def test_a_sweep_that_was_killed_finds_the_run_that_it_started(
    client: SyncPrefectClient, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work("cell", NAME, "rtn · vllm")
    run = DeploymentRuns("cpu", store, {}, print)._submit(client, work)
    client.set_flow_run_state(run, Running(), force=True)
    reason, _ = _have_done(monkeypatch, store, lambda *_: _finish(store, tmp_path))
    assert reason is None
    assert [started.id for started in _runs(client, store)] == [run]


def test_two_sweeps_that_ask_at_once_get_one_run(
    client: SyncPrefectClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_runs_of", lambda *_: [])  # neither sees the other's
    sweeps = [DeploymentRuns("cpu", store, {}, print) for _ in range(2)]
    first, second = (sweep._submit(client, Work("cell", NAME, "rtn · vllm")) for sweep in sweeps)
    assert first == second


def test_a_run_that_prefects_server_does_not_know_is_rescheduled(
    client: SyncPrefectClient, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(look: int, run: FlowRun) -> State | None:
        if look == 0:
            client.delete_flow_run(run.id)
        return _finish(store, tmp_path) if look else None

    reason, messages = _have_done(monkeypatch, store, script)
    assert (reason, messages) == (None, ["rtn · vllm is rescheduled: Prefect's server does not know its run"])
