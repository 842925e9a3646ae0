"""Work that is handed to workers on any machine, of which each may be lost at any moment; knows nothing of Prefect.

A piece of work is known by the name under which its result appears in the store. Handing it out writes a *lease*: the
attempt that may publish. Who has it writes *beats* as long as it lives. An attempt whose beats stop, or whose run ended
without a result, is given up: the lease gets another attempt, and what the old one might still publish is refused. So
a result is never computed to its end twice, and a sweep that was killed finds what it had handed out.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from evals.schema.failures import failure_of
from evals.schema.trial import Failure
from flows.distributed.object_store import Store
from quant.errors import BitfrontierError, CellFailure

BEAT_SECONDS = 5.0
LOST_SECONDS = 90.0  # importing and starting may take a minute on a busy machine
POLL_SECONDS = 1.0
ATTEMPTS = 3


class LeaseLost(BitfrontierError):
    """The work was given to another worker, since nothing was heard of this one."""


@dataclass(frozen=True)
class Piece:
    """Work: the store's `name` of its result, the `title` that people see, and the parameters of its run."""

    name: str
    title: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Ended:
    """A run that ended; what it said of that."""

    message: str


RunState = Literal["waiting", "running"] | Ended


class Workers(Protocol):
    """Where runs are started."""

    def submit(self, piece: Piece, attempt: str) -> str:
        """Start a run and return its id."""

    def state(self, run: str) -> RunState:
        """How it is; one that nobody knows any more has ended."""

    def give_up(self, run: str, why: str) -> None:
        """Say of a run that it is lost."""


@dataclass
class _Assignment:
    piece: Piece
    attempt: str
    run: str
    attempts: int
    beat: Any = None
    heard_seconds: float = field(default_factory=time.monotonic)


def hand_out(
    pieces: Sequence[Piece],
    store: Store,
    workers: Workers,
    ended: Callable[[Piece, Failure | None], None],
    say: Callable[[str], None],
    began: Callable[[Piece], None] = lambda piece: None,
) -> None:
    """Have every piece done, however many workers are lost; `ended` gets each, with its failure where it has no result,
    `began` each that a worker was seen at.

    A piece whose result is in the store is not run; one that a sweep before this handed out, and that still runs, is
    waited for.
    """
    assignments = [_hand(piece, store, workers, 1, adopt=True) for piece in pieces if not store.has(piece.name)]
    for piece in pieces:
        if all(assignment.piece is not piece for assignment in assignments):
            ended(piece, None)
    while assignments:
        still = []
        for assignment in assignments:
            outcome = _look(assignment, store, workers, say, began)
            if isinstance(outcome, _Assignment):
                still.append(outcome)
            else:
                ended(assignment.piece, outcome)
        assignments = still
        if assignments:
            time.sleep(POLL_SECONDS)


def _hand(piece: Piece, store: Store, workers: Workers, attempts: int, *, adopt: bool = False) -> _Assignment:
    lease = store.read(_lease(piece.name)) if adopt else None
    # who was killed before its run was noted has left a lease without one
    if lease is not None and lease["run"] and not isinstance(workers.state(lease["run"]), Ended):
        return _Assignment(piece, lease["attempt"], lease["run"], attempts)
    attempt = uuid.uuid4().hex
    store.write(_lease(piece.name), {"attempt": attempt, "run": ""})  # now, so that the one before cannot publish
    run = workers.submit(piece, attempt)
    store.write(_lease(piece.name), {"attempt": attempt, "run": run})
    return _Assignment(piece, attempt, run, attempts)


def _look(
    assignment: _Assignment, store: Store, workers: Workers, say: Callable[[str], None], began: Callable[[Piece], None]
) -> _Assignment | Failure | None:
    """The piece as it stands; None where its result is there, else why it has none."""
    if store.has(assignment.piece.name):
        return None
    failed = store.read(_failed(assignment.piece.name, assignment.attempt))
    if failed is not None:
        return Failure(**failed)
    state = workers.state(assignment.run)
    if isinstance(state, Ended):
        why = state.message
        if store.has(assignment.piece.name):  # it ended well since we looked
            return None
    elif state == "running" and _silent(assignment, store):
        why = f"nothing was heard of its worker for {LOST_SECONDS:.0f} s"
        workers.give_up(assignment.run, why)
    else:
        if state == "waiting":
            assignment.heard_seconds = time.monotonic()
        else:
            began(assignment.piece)
        return assignment
    if assignment.attempts == ATTEMPTS:
        return failure_of(CellFailure(f"given up after {ATTEMPTS} attempts on workers: {why}", kind="worker-lost"))
    say(f"{assignment.piece.title} is handed out again: {why}")
    return _hand(assignment.piece, store, workers, assignment.attempts + 1)


def _silent(assignment: _Assignment, store: Store) -> bool:
    """True if its worker's beats have stopped, by our clock alone."""
    beat = store.read(_beat(assignment.piece.name, assignment.attempt))
    if beat != assignment.beat:
        assignment.beat, assignment.heard_seconds = beat, time.monotonic()
    return time.monotonic() - assignment.heard_seconds > LOST_SECONDS


@contextmanager
def at_work(store: Store, name: str, attempt: str) -> Iterator[None]:
    """Beat until the block ends. Raises LeaseLost where the work is another attempt's."""
    require_lease(store, name, attempt)
    done = threading.Event()

    def beat() -> None:
        number = 0
        while not done.is_set():
            with suppress(OSError):  # a store that fails for a moment: the next beat is soon, and many may be missed
                store.write(_beat(name, attempt), number)
            number += 1
            done.wait(BEAT_SECONDS)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def require_lease(store: Store, name: str, attempt: str) -> None:
    """Raises LeaseLost where `attempt` may not publish `name` any more."""
    lease = store.read(_lease(name))
    if lease is None or lease["attempt"] != attempt:
        raise LeaseLost(f"{name} was given to another worker, since nothing was heard of this one")


def publish_failure(store: Store, name: str, attempt: str, failure: Failure) -> None:
    """Say why the work has no result; another attempt may have one."""
    require_lease(store, name, attempt)
    store.write(_failed(name, attempt), asdict(failure))


def _lease(name: str) -> str:
    return f"leases/{name}"


def _beat(name: str, attempt: str) -> str:
    return f"beats/{name}.{attempt}"


def _failed(name: str, attempt: str) -> str:
    return f"failed/{name}.{attempt}"
