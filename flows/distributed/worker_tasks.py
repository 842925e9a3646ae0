"""What a worker does for a sweep: make one checkpoint, or measure one cell, for the shared store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import FileLock

from engines.runtime.cache import cache_folder
from engines.runtime.environments import build
from evals.schema.failures import failure_of
from evals.schema.part import find_part, part_file
from evals.schema.trial import Failure, Trial
from flows.distributed.object_store import Store, fetch_folder
from flows.execute import rows
from flows.execute.keys import PartRequest
from flows.execute.manifest import describe
from flows.execute.prepare import environments_of, prepare_sweep
from flows.execute.prepared import Prepared, Row
from flows.execute.worker_process import Here
from flows.plan.outside import outside_lines
from flows.sources.models import raise_failure
from flows.sources.references import forget_failures
from flows.state.cache_gc import register
from flows.state.progress_display import Display
from flows.validate.plan import REFERENCE_ENVIRONMENT
from flows.validate.resolved import ResolvedPlan
from quant.errors import CellFailure
from quant.types import CHECKPOINT_RECORD

Made = tuple[Path, list[str]] | Failure  # a folder with what is to be published of it, or why nothing is


class OtherWork(CellFailure):
    """What this machine would do is not what the sweep asks for."""

    kind = "worker-mismatch"


def checkpoint_name(row: Row) -> str:
    """Under which the row's checkpoint is in the store."""
    return f"checkpoints/{row.job.key}" if row.job else ""


def trial_name(row: Row) -> str:
    """Under which the row's trial is in the store."""
    return f"trials/{row.key}"


def prepare_here(sweep: ResolvedPlan, display: Display) -> Prepared:
    """The sweep as this worker would run it, in its own cache folder."""
    for line in outside_lines(sweep.plan):
        display.say(line)
    environments = {environment.name: environment for environment in environments_of(sweep)}
    build(environments[REFERENCE_ENVIRONMENT], display.say)
    forget_failures()  # the sweep's machine has its references: else it would not ask
    prepared = prepare_sweep(sweep, list(environments.values()), cache_folder() / "cells", display)
    describe(prepared)  # before it may be refused, so that `bitfrontier plan` here shows this machine's keys
    # so that `bitfrontier gc` keeps what this worker has
    register(prepared.folder, sweep.text)
    return prepared


def other_work(name: str) -> OtherWork:
    """Why this worker does not make the result of this name."""
    return OtherWork(
        f"this worker would measure something else than {name}: its plan, versions, packages, data or machine "
        "differ from those of the sweep. Bring them to the same state"
    )


def find(sweep: ResolvedPlan, name: str, display: Display) -> tuple[Prepared, Row]:
    """The row whose result has this name, with all that its run needs. Raises OtherWork."""
    prepared = prepare_here(sweep, display)
    row = next((row for row in prepared.rows if name in (checkpoint_name(row), trial_name(row))), None)
    if row is None:
        raise other_work(name)
    if row.job is not None:
        raise_failure(row.job.model)
    cell = row.cell
    wanted = cell.environment if name == trial_name(row) else cell.quantization.method.environment
    build(prepared.environments[wanted], display.say)
    return prepared, row


def make_checkpoint(sweep: ResolvedPlan, name: str, store: Store, display: Display) -> Made:
    """Quantize; the record of the checkpoint is the last of its files. Raises OtherWork."""
    prepared, row = find(sweep, name, display)
    made = rows.quantize_row(prepared, row, display)
    if isinstance(made, Failure):
        return made
    folder = Path(made.folder)
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return folder, sorted(files, key=lambda file: file == CHECKPOINT_RECORD)


def measure_cell(sweep: ResolvedPlan, name: str, store: Store, display: Display) -> Made:
    """Measure, with the checkpoint and the baseline's trial of the store. The trial's own file is the last one; its
    parts come with it, so that whoever has them measures only what is new. Raises OtherWork.
    """
    prepared, row = find(sweep, name, display)
    alike = [other for other in prepared.rows if other.engine_key == row.engine_key and other is not row]
    baselines = [other for other in alike if other.cell.quantization.scheme.unquantized]
    for baseline in baselines:
        fetch_trial(prepared, baseline, store)
    fetch_parts(prepared, [*baselines, row], store)
    if (trial := rows.finished(row)) is None:
        fetch_checkpoint(row, store)
        trial = Here(prepared).measure(row, display)
    publish_parts(prepared, [row], store)  # of a cell that failed, too
    if trial.status != "ok":
        row.file.unlink()
        return trial.failure or failure_of(CellFailure(trial.reason))
    beside = [file for part in row.parts for file in _part_files(prepared, part)]
    beside += (prepared.folder / "logs").glob(f"{row.file.stem}.*")
    return prepared.folder, [str(path.relative_to(prepared.folder)) for path in [*sorted(set(beside)), row.file]]


def fetch_checkpoint(row: Row, store: Store) -> None:
    """Bring it here from the store, if it is not here. Raises OtherWork for a row without any, and StoreError."""
    if row.job is None:
        raise OtherWork(f"{row.cell.name} cannot be measured: {row.cell.unsupported}")
    row.job.folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(row.job.folder.with_suffix(".lock")):
        if not rows.has_checkpoint(row):
            fetch_folder(store, checkpoint_name(row), row.job.folder)


def _part_files(prepared: Prepared, part: PartRequest) -> list[Path]:
    """What there is of a finished part: predictions in a file of their own, then its record."""
    record = prepared.folder / "parts" / part_file(part.key)
    return [*sorted(prepared.folder.glob(f"trials/*.{part.key[:12]}.npz")), record] if record.exists() else []


def fetch_trial(prepared: Prepared, row: Row, store: Store) -> Trial | None:
    """The row's trial, brought here from the store if it is there and not here."""
    if rows.finished(row) is None and store.has(trial_name(row)):
        store.fetch(trial_name(row), prepared.folder)
    return rows.finished(row)


def fetch_parts(prepared: Prepared, wanted: Iterable[Row], store: Store) -> None:
    """Bring here what any machine finished of these rows, and put trials together where nothing is missing."""
    there = store.names("parts")
    for part in _parts(wanted):
        if _part_name(part) in there and find_part(prepared.folder / "parts", part.key) is None:
            store.fetch(_part_name(part), prepared.folder)
    rows.assemble_finished(prepared)


def publish_parts(prepared: Prepared, finished: Iterable[Row], store: Store) -> None:
    """Put what is finished here of these rows where other machines find it, whatever trial they need it for."""
    there = store.names("parts")
    for part in _parts(finished):
        if _part_name(part) not in there and (files := _part_files(prepared, part)):
            store.publish(_part_name(part), prepared.folder, [str(file.relative_to(prepared.folder)) for file in files])


def _parts(of: Iterable[Row]) -> Iterator[PartRequest]:
    return (part for row in of for part in row.parts)


def _part_name(part: PartRequest) -> str:
    """Under which a part is in the store."""
    return f"parts/{part.key}"
