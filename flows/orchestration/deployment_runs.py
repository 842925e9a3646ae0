"""Work that Prefect's workers do on any machine, of which each may be lost at any moment.

Prefect has the queue, the states, the heartbeats of a run and, by `idempotency_key`, one run where two sweeps ask for
the same result. A result is known by its address in the store, which is a tag of its runs. The newest run of a tag is
the one that may publish; so a sweep that was killed finds the run that it started, and a lost one is refused.

Judging that a heartbeat is lost stays here. What of Prefect 3.8.8 was tried and missed, or read in its source
(`evidence/two-workers-2026-11-27.txt`):

- The automation "no heartbeat within 90 s: Crashed" (tried on SQLite and PostgreSQL 15) counts the time in which the
  server itself was away: 2 s after the end of an absence of 120 s it called living runs crashed, so their cells would
  be measured twice at once. A run that was killed before its first heartbeat was still Running after 700 s.
- `concurrency(…, strict=True)` around each cell (tried on SQLite) frees the slot of a killed holder after 56 to 72 s.
  But leases are kept in the server's memory by default: once it was restarted, a killed holder's slot was not free
  after 160 s, and nothing there frees it. Kept in files they survive, which is the server's setting and not ours. A
  holder whose lease was gone was not interrupted while it waited for a child process.
- A flow's `retries` concern exceptions (source): nothing starts the run of a killed process again.
- A run that is called Crashed may still go to Running (source), so its state doesn't say whether it may publish.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter, EventResourceFilter
from prefect.exceptions import ObjectNotFound
from prefect.runtime import deployment, flow_run
from prefect.states import Crashed, Failed
from prefect.types import DateTime

from evals.schema.failures import because
from evals.schema.trial import Failure
from flows.bundle.contents import BadBundle
from flows.distributed.object_store import Store
from flows.plan.changes import UNCHANGED, Changes
from flows.plan.outside import ALLOW, refuse_outside
from flows.plan.source import PlanFile, load_plan
from flows.state.locks import hold, is_held
from quant.errors import REMEDIES, BitfrontierError, FailureKind

HEARTBEAT_SECONDS = 30  # the shortest that Prefect allows
LOST_SECONDS = 90.0  # importing and starting may take a minute on a busy machine
POLL_SECONDS = 1.0
LONGEST_LOOK_SECONDS = 5.0  # what a look takes beyond it is the server's silence, not a worker's
ATTEMPTS = 3
NO_RESULT = "No result"  # the state of a run that would end alike on any worker
WORKER_FAILED = "Worker failed"  # the state of a run that ended by what only this worker lacks
# a disk, memory, programs or a plan of its own
OF_ONE_WORKER: frozenset[FailureKind] = frozenset(
    {
        "full-disk",
        "out-of-memory",
        "missing-environment",
        "broken-environment",
        "port-taken",
        "worker-lost",
        "worker-mismatch",
    }
)
Kind = Literal["checkpoint", "cell", "round"]
READ_AT_ONCE = 200  # as many runs as Prefect's API gives


class NotDeployed(BitfrontierError):
    """Prefect's server has no deployment that workers would be given."""

    exit_code = 2


class Rescheduled(BitfrontierError):
    """Another run makes this result, since the heartbeat of this one was lost."""


@dataclass(frozen=True)
class Work:
    """A result to be made: its `name` in the store, the `title` that people see, and the lock that is held while a
    worker is at it.
    """

    kind: Kind
    name: str
    title: str
    running_lock: Path | None = None


@dataclass
class _Assigned:
    work: Work
    run: UUID
    heard_seconds: float
    attempts: int = 1
    heartbeat: UUID | None = None
    lock: ExitStack = field(default_factory=ExitStack)


@dataclass(frozen=True)
class DeploymentRuns:
    """Runs of the deployments for one kind of device; `parameters` are given to each."""

    device: str
    store: Store
    parameters: Mapping[str, Any]
    say: Callable[[str], None]

    def require_deployments(self, kinds: Iterable[Kind]) -> None:
        """Raises NotDeployed where one is missing: before hours of work that would need it."""
        with get_client(sync_client=True) as client:
            for kind in kinds:
                try:
                    client.read_deployment_by_name(f"{kind}/{self.device}")
                except ObjectNotFound as error:
                    raise NotDeployed(
                        f"Prefect's server has no deployment {kind}/{self.device}. "
                        "Run `prefect deploy --all --prefect-file prefect-workers.yaml`"
                    ) from error

    def results(self, works: Sequence[Work]) -> Iterator[tuple[Work, Failure | None]]:
        """Have all works done, however many workers are lost. Yields each as it ends, with its failure where it has
        no result in the store. Time in which Prefect's server doesn't answer is no silence of a worker.
        """
        left = []
        for work in works:
            if self.store.has(work.name):
                yield work, None
            else:
                left.append(work)
        clock, looked = 0.0, time.monotonic()
        with get_client(sync_client=True) as client, ExitStack() as locks:
            assigned = [_Assigned(work, self._submit(client, work), clock) for work in left]
            for assignment in assigned:
                locks.enter_context(assignment.lock)
            while assigned:
                outcomes: list[tuple[_Assigned, Failure | Literal["made"]]] = []
                try:
                    runs = _read(client, [assignment.run for assignment in assigned])
                    clock, looked = clock + min(time.monotonic() - looked, LONGEST_LOOK_SECONDS), time.monotonic()
                    for assignment in assigned:
                        outcome = self._look(client, assignment, runs.get(assignment.run), clock)
                        if outcome is not None:
                            outcomes.append((assignment, outcome))
                except httpx.HTTPError as error:  # Prefect's client has asked for about a minute
                    if isinstance(error, httpx.HTTPStatusError) and not error.response.is_server_error:
                        raise
                    self.say(f"Prefect's server does not answer; workers continue: {error}")
                for assignment, outcome in outcomes:
                    assigned.remove(assignment)
                    assignment.lock.close()
                    yield assignment.work, outcome if isinstance(outcome, Failure) else None
                time.sleep(POLL_SECONDS if assigned else 0)

    def _submit(self, client: SyncPrefectClient, work: Work) -> UUID:
        """The run that makes a result: the newest one if it has not ended, else a new one, the same for all sweeps."""
        tag = _tag(self.store, work.name)
        runs = _runs_of(client, tag)
        if runs and not (runs[-1].state and runs[-1].state.is_final()):
            return runs[-1].id
        started = run_deployment(
            f"{work.kind}/{self.device}",
            parameters={**self.parameters, "store": self.store.url, "name": work.name},
            flow_run_name=work.title,
            tags=[tag],
            idempotency_key=f"{tag} after {runs[-1].id if runs else 'none'}",
            job_variables={"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS)}},
            timeout=0,
            as_subflow=False,
        )
        return started.id  # type: ignore[union-attr]

    def _look(
        self, client: SyncPrefectClient, assigned: _Assigned, run: FlowRun | None, clock: float
    ) -> Failure | Literal["made"] | None:
        """None while it goes on; "made" where the result is in the store, else why it has none."""
        state = run.state if run else None
        if state is not None and not state.is_final():
            if state.is_scheduled():
                assigned.heard_seconds = clock
            elif state.is_running() and (lock := assigned.work.running_lock) and not is_held(lock):
                assigned.lock.enter_context(hold(lock))
            if not _silent(client, assigned, clock):
                return None
        if self.store.has(assigned.work.name):
            return "made"
        failure = None
        if state is None:
            why = "Prefect's server does not know its run"
        elif not state.is_final():
            why = f"worker heartbeat lost (no heartbeat for {LOST_SECONDS:.0f} s)"
            client.set_flow_run_state(assigned.run, Crashed(message=why), force=True)
        else:
            why = str(state.message or state.name)
            if state.name in (NO_RESULT, WORKER_FAILED):  # as `ended` wrote it
                failure = Failure(**json.loads(why))
                why = f"{failure.kind}: {failure.cause}"
            if failure is not None and state.name == NO_RESULT:
                return failure
        if assigned.attempts == ATTEMPTS:
            if failure is not None:
                return because(f"on {ATTEMPTS} runs, on whichever workers were free", failure)
            return Failure("worker-lost", f"not rescheduled after {ATTEMPTS} lost runs: {why}", REMEDIES["worker-lost"])
        self.say(f"{assigned.work.title} is rescheduled: {why}")
        assigned.run, assigned.heartbeat = self._submit(client, assigned.work), None
        assigned.attempts, assigned.heard_seconds = assigned.attempts + 1, clock
        return None


def load_allowed(file: Path, changes: Changes = UNCHANGED) -> PlanFile:
    """A plan, which names nothing that is not ours where a deployment's run is what reads it. Raises PlanError."""
    parsed = load_plan(file, changes)
    if deployment.id:
        refuse_outside(parsed)
    return parsed


def allowed_bundle(bundle: str | None) -> str | None:
    """The folder of a bundle, which brings packages that are run. Raises BadBundle where a deployment's run names it,
    unless this process was started with ALLOW=1.
    """
    if bundle is not None and deployment.id and os.environ.get(ALLOW) != "1":
        raise BadBundle(
            f"a run that came by Prefect names the bundle {bundle:.200}, whose packages would be run. If you trust all "
            f"who may use Prefect's API, start the worker with {ALLOW}=1"
        )
    return bundle


def ended(failure: Failure) -> State:
    """The state of a run without a result: another worker may do better where it is this worker's own failure."""
    name = WORKER_FAILED if failure.kind in OF_ONE_WORKER else NO_RESULT
    return Failed(name=name, message=json.dumps(asdict(failure)))


def require_newest(store: Store, name: str) -> None:
    """Raises Rescheduled where this flow run is not the newest one that makes the result `name`."""
    with get_client(sync_client=True) as client:
        runs = _runs_of(client, _tag(store, name))
    if not runs or str(runs[-1].id) != flow_run.get_id():
        raise Rescheduled(
            f"{name} was rescheduled, since the heartbeat of this run was lost: nothing is published. "
            f"See the newest run with the tag {_tag(store, name)}"
        )


def _tag(store: Store, name: str) -> str:
    return f"{store.url}/{name}"


def _runs_of(client: SyncPrefectClient, tag: str) -> list[FlowRun]:
    """All that were to make the result of this address, in the order in which they were created."""
    runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[tag])))
    return sorted(runs, key=lambda run: run.created)  # type: ignore[arg-type, return-value]


def _read(client: SyncPrefectClient, runs: Sequence[UUID]) -> dict[UUID, FlowRun]:
    """Those that Prefect's server knows."""
    parts = (runs[start : start + READ_AT_ONCE] for start in range(0, len(runs), READ_AT_ONCE))
    filters = (FlowRunFilter(id=FlowRunFilterId(any_=list(part))) for part in parts)
    return {run.id: run for wanted in filters for run in client.read_flow_runs(flow_run_filter=wanted)}


def _silent(client: SyncPrefectClient, assigned: _Assigned, clock: float) -> bool:
    """True if its heartbeats have stopped, by our clock alone."""
    if clock - assigned.heard_seconds > HEARTBEAT_SECONDS:
        heartbeat = _last_heartbeat(client, assigned.run)
        if heartbeat != assigned.heartbeat:
            assigned.heartbeat, assigned.heard_seconds = heartbeat, clock
    return clock - assigned.heard_seconds > LOST_SECONDS


def _last_heartbeat(client: SyncPrefectClient, run: UUID) -> UUID | None:
    """The event; a worker's clock may be ahead of ours."""
    wanted = EventFilter(
        event=EventNameFilter(name=["prefect.flow-run.heartbeat"]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run}"]),
        occurred=EventOccurredFilter(until=DateTime.now("UTC") + timedelta(days=1)),
    )
    events = client.read_events(filter=wanted, limit=1).events
    return events[0].id if events else None
