"""A later visit of a cell in a race: a fresh server, one warm-up and one series of repeats of every load, nothing else.

What else the machine did is recorded beside it. A visit that was disturbed is made again, at most twice, and the least
disturbed one counts: what decides is how busy others were, never how fast the cell was.
"""

from __future__ import annotations

import errno
import logging
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from engines.telemetry.disturbance import Disturbance, Sentinel, sentinel, slow_sentinel
from engines.telemetry.host import SESSION, cpu_model, host_id
from evals.schema.failures import failure_of
from evals.schema.part import Part, find_part, joined_speeds, save_part
from evals.schema.secrets_hidden import without_secrets
from evals.schema.trial import Failure, Trial
from evals.tasks.loaded_tasks import LoadedTasks
from flows.execute.keys import PartRequest, visit_parts
from flows.execute.manifest import commit
from flows.execute.measure_cell import finished_part, reach
from flows.execute.prepared import Prepared, Row
from flows.execute.rows import bandwidth_of, server_logs, target_of
from flows.execute.score_cell import Target
from flows.execute.served_parts import Served, Work
from flows.execute.spec import work_of
from flows.state.locks import hold, slots
from flows.state.progress_display import Display
from flows.state.stages import Step, plainly
from flows.state.status import running_lock
from quant.errors import is_failure
from quant.types import Checkpoint

logger = logging.getLogger(__name__)

MOST_ATTEMPTS = 3


@dataclass(frozen=True)
class Visit:
    """One cell in one round: its `place` in the round's order, counted from 1. A `control` is the first baseline under
    another name: what differs between the two is noise.
    """

    number: int
    place: int
    control: bool = False

    def requests(self, row: Row) -> tuple[PartRequest, ...]:
        """Its parts."""
        return visit_parts(row.parts, self.number, control=self.control)


@dataclass(frozen=True)
class Attempt:
    """What one fresh server showed, and why it is to be tried again."""

    parts: Sequence[Part]
    reasons: Sequence[str]
    disturbed: float


def is_finished(folder: Path, requests: Iterable[PartRequest]) -> bool:
    """True if all parts of the visit are there."""
    return all(find_part(folder, request.key) is not None for request in requests)


@dataclass(frozen=True)
class _Planned:
    """A visit with all that it takes. `sentinels` are those of this process so far, by which a slow one is known."""

    prepared: Prepared
    row: Row
    checkpoint: Checkpoint
    visit: Visit
    work: Work
    target: Target
    sentinels: list[Sentinel]
    display: Display


def _made(planned: _Planned) -> list[Part]:
    """The parts of a visit that is whole. Raises what its server or its loads do."""
    attempts: list[Attempt] = []
    visit, began = planned.visit, time.monotonic()
    while not attempts or (attempts[-1].reasons and len(attempts) < MOST_ATTEMPTS):
        attempts.append(_attempt(planned))
        if attempts[-1].reasons:
            reasons = "; ".join(attempts[-1].reasons)
            logger.warning("%s, round %d: %s", planned.row.cell.name, visit.number, reasons)
            again = "visit repeated" if len(attempts) < MOST_ATTEMPTS else f"disturbed in all {MOST_ATTEMPTS} visits"
            name = f"{planned.row.cell.name}{', control' if visit.control else ''}"
            planned.display.say(f"  round {visit.number}, {name}: {again}: {reasons}")
    best = min(attempts, key=lambda attempt: (bool(attempt.reasons), attempt.disturbed))
    facts = {
        "round": visit.number,
        "place": visit.place,
        "attempts": len(attempts),
        "all_attempts_seconds": time.monotonic() - began,
        "disturbed": list(best.reasons),
        "repeated_for": [reason for attempt in attempts for reason in attempt.reasons if attempt is not best],
    }
    return [without_secrets(replace(part, measured={**part.measured, **facts})) for part in best.parts]


def _attempt(planned: _Planned) -> Attempt:
    """One fresh server; its sentinel is added to those of this process."""
    row, work, target = planned.row, planned.work, planned.target
    known_work = sentinel(work.threads)
    slow = slow_sentinel(known_work, planned.sentinels)
    planned.sentinels.append(known_work)
    environment = planned.prepared.environments.get(row.cell.environment)
    folder, device = Path(planned.checkpoint.folder), planned.prepared.sweep.device
    with reach(row.cell, environment, folder, device, work, target.log) as (endpoint, child):
        served = Served(endpoint, child, environment, row.cell, folder, device, work, target)
        parts = [finished_part(served, request) for request in planned.visit.requests(row)]
    parts = [replace(part, memory=replace(part.memory, samples=()) if part.memory else None) for part in parts]
    others = [Disturbance(**part.measured["others"]) for part in parts]
    facts = {"sentinel": asdict(known_work), "startup_seconds": endpoint.startup_seconds}
    return Attempt(
        parts=[replace(part, measured={**part.measured, **facts}) for part in parts],
        reasons=list(dict.fromkeys([*slow, *(reason for other in others for reason in other.reasons)])),
        disturbed=max(other.foreign + other.steal for other in others),
    )


def visit_row(
    prepared: Prepared,
    row: Row,
    checkpoint: Checkpoint,
    visit: Visit,
    tasks: LoadedTasks,
    display: Display,
    sentinels: list[Sentinel],
    step: Step = plainly,
) -> Failure | None:
    """Visit a cell, alone on its device, and keep the visit whole; what kept it from being measured, if anything did.
    Raises OSError where it cannot be kept: that is no failure of the cell.
    """
    sweep, target = prepared.sweep, target_of(prepared, row)
    with slots(sweep.device.slots, display.waiting), hold(running_lock(row.file)):
        measured = {"host": host_id(), "session": SESSION, "cpu": cpu_model(), "commit": commit()}
        log = visit_log(prepared, row, visit)
        target = replace(target, measured=measured, log=log, bandwidth=bandwidth_of(prepared, row))
        try:
            work = work_of(sweep, tasks, display, step)
            parts = _made(_Planned(prepared, row, checkpoint, visit, work, target, sentinels, display))
        except BaseException as error:  # the cell has a trial, and leaves the race with this reason
            if not is_failure(error):
                raise
            logger.warning("%s, round %d: %s", row.cell.name, visit.number, traceback.format_exc())
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            return failure_of(error, log=log)
        for part in parts:
            save_part(target.folder, part)
    return None


def visit_log(prepared: Prepared, row: Row, visit: Visit) -> Path:
    """Where the visit's server writes."""
    log, *_ = server_logs(prepared, row)
    return log.with_suffix(f".{'control-' if visit.control else ''}round-{visit.number}.log")


def later_visits(folder: Path, row: Row, rounds: int, *, control: bool = False) -> dict[int, list[Part]]:
    """The parts of the visits that are finished, by round; of a control from the first round on."""
    visits: dict[int, list[Part]] = {}
    for number in range(1 if control else 2, rounds + 1):
        requests = Visit(number, 0, control).requests(row)
        parts = [part for request in requests if (part := find_part(folder, request.key)) is not None]
        if requests and len(parts) == len(requests):
            visits[number] = parts
    return visits


def with_visits(trial: Trial, visits: dict[int, list[Part]]) -> Trial:
    """The trial with the speeds and peaks of memory of later visits, and what is known of each."""
    speeds = {number: [speed for part in parts for speed in part.speed] for number, parts in visits.items()}
    facts = [dict(_facts(number, parts)) for number, parts in visits.items()]
    peaks = {number: [part.memory.peak_bytes for part in parts if part.memory] for number, parts in visits.items()}
    later = tuple((number, max(of_visit)) for number, of_visit in peaks.items() if of_visit)
    return replace(
        trial,
        speed=joined_speeds(trial.speed, speeds),
        memory=replace(trial.memory, later_peaks=later) if trial.memory else None,
        provenance={**trial.provenance, "visits": facts},
    )


def _facts(number: int, parts: Sequence[Part]) -> Iterator[tuple[str, Any]]:
    """Of one visit: those of its first load, and the most that others did meanwhile."""
    first = parts[0].measured
    yield "round", number
    for name in (
        "started",
        "host",
        "session",
        "place",
        "startup_seconds",
        "attempts",
        "all_attempts_seconds",
        "disturbed",
        "repeated_for",
        "sentinel",
    ):
        if name in first:
            yield name, first[name]
    others = [part.measured["others"] for part in parts if "others" in part.measured]
    yield "others", {name: max(other[name] for other in others) for name in others[0]} if others else {}
    yield "seconds", sum(part.seconds for part in parts)
