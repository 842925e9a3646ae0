"""A sweep over many machines: its checkpoints and cells are deployment runs, for whichever worker is free."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed

from evals.schema.failures import failure_of
from evals.schema.trial import Failure, Trial
from flows.bundle.use import from_bundle
from flows.distributed.object_store import Store, StoreError, open_store
from flows.distributed.worker_tasks import (
    Made,
    OtherWork,
    checkpoint_name,
    fetch_parts,
    fetch_trial,
    find,
    make_checkpoint,
    measure_cell,
    publish_parts,
    trial_name,
)
from flows.execute.prepared import Baselines, Prepared, Row
from flows.execute.rows import failed_trial, unsupported_trial
from flows.orchestration import artifacts
from flows.orchestration.deployment_runs import (
    DeploymentRuns,
    Work,
    allowed_bundle,
    ended,
    load_allowed,
    require_newest,
)
from flows.plan.changes import Changes, changes_of
from flows.plan.source import PlanError
from flows.state.locks import cache_in_use
from flows.state.progress_display import Display, LogDisplay, cell_line
from flows.state.status import running_lock
from flows.validate.plan import check
from quant.errors import BitfrontierError
from quant.foreign_failures import FULL

Make = Callable[[Prepared, Row, Store, Display], Made]


@flow(name="checkpoint", persist_result=False)
def checkpoint(
    plan: str,
    data_root: str | None,
    store: str,
    name: str,
    changes: dict[str, list[str]] | None = None,
    bundle: str | None = None,
) -> State:
    """Quantize once, for all machines of a sweep, which starts this itself."""
    return _make(make_checkpoint, plan, data_root, store, name, changes_of(changes), bundle)


@flow(name="cell", persist_result=False)
def cell(
    plan: str,
    data_root: str | None,
    store: str,
    name: str,
    changes: dict[str, list[str]] | None = None,
    bundle: str | None = None,
) -> State:
    """Measure one cell of a sweep, which starts this itself."""
    return _make(measure_cell, plan, data_root, store, name, changes_of(changes), bundle)


def _make(
    make: Make, plan: str, data_root: str | None, url: str, name: str, changes: Changes, bundle: str | None = None
) -> State:
    """Failed where there is no result, by a name that says whether another worker would end alike."""
    display, store = LogDisplay(get_run_logger().info), open_store(url)
    with cache_in_use():
        try:
            parsed = load_allowed(Path(plan), changes)
            sweep = from_bundle(
                allowed_bundle(bundle), lambda base: check(parsed, data_root=data_root, base=base), display
            )
            prepared, row = find(sweep, name, display)
            made = make(prepared, row, store, display)
            if not isinstance(made, Failure):
                require_newest(store, name)
                store.publish(name, *made)
        except PlanError as error:  # the sweep found it valid: an image, a program or a file is not on this machine
            made = failure_of(OtherWork(f"the plan is not valid on this worker: {error}"))
        except BitfrontierError as error:
            made = failure_of(error)
        except OSError as error:
            if error.errno not in FULL:
                raise
            made = failure_of(error)
    return ended(made) if isinstance(made, Failure) else Completed()


@dataclass(frozen=True)
class Spread:
    """A sweep whose checkpoints and trials workers make, and where they meet."""

    prepared: Prepared
    store: Store
    display: Display

    def quantize(self, rows: Sequence[Row]) -> dict[str, Failure | None]:
        """Why there is no checkpoint, or None, by its name in the store."""
        titles = {checkpoint_name(row): f"quantize {row.cell.quantization.label}" for row in rows}
        works = [Work("checkpoint", name, self._title(title)) for name, title in titles.items()]
        advance, failures = self.display.overall("quantize", len(works)), {}
        for work, failure in self._runs().results(works):
            failures[work.name] = failure
            advance(1)
            self.display.say(f"  {work.title}: {failure.cause[:160] if failure else 'there'}")
        return failures

    def measure(self, rows: Sequence[Row]) -> Iterator[tuple[Row, Trial]]:
        """Yield each trial, brought here, as it ends; until then, whoever looks into the run's folder sees which cells
        are being measured.
        """
        by_name = {trial_name(row): row for row in rows}
        works = [
            Work("cell", name, self._title(row.cell.name), running_lock(row.file)) for name, row in by_name.items()
        ]
        advance = self.display.overall("measure", len(rows))
        for work, failure in self._runs().results(works):
            advance(1)
            row = by_name[work.name]
            trial = fetch_trial(self.prepared, row, self.store) if failure is None else None
            gone = failure_of(StoreError("its result is not in the store any more"))
            yield row, trial or failed_trial(self.prepared, row, failure or gone)

    def _title(self, text: str) -> str:
        return f"{text} · {self.prepared.sweep.plan.name}"

    def _runs(self) -> DeploymentRuns:
        sweep = self.prepared.sweep
        parameters: dict[str, Any] = {"plan": str(sweep.file), "data_root": sweep.data_root}
        parameters |= {"changes": sweep.changes.plain} if sweep.changes else {}
        parameters |= {"bundle": sweep.bundle} if sweep.bundle else {}
        return DeploymentRuns(sweep.device.kind, self.store, parameters, self.display.say)


def spread(prepared: Prepared, url: str, display: Display) -> None:
    """Have every cell of a sweep measured on workers, baselines first, and bring the trials here."""
    coordinator, count = Spread(prepared, open_store(url), display), len(prepared.rows)
    shown = artifacts.progress(prepared.sweep.plan.name, "cells", count)
    baselines = Baselines()
    done = 0

    def ended(row: Row, trial: Trial) -> None:
        nonlocal done
        done += 1
        shown(1)
        baselines.ended(row, trial)
        display.say(cell_line(trial, done, count))

    publish_parts(prepared, prepared.rows, coordinator.store)
    fetch_parts(prepared, prepared.rows, coordinator.store)
    left = []
    for row in prepared.rows:
        known = unsupported_trial(prepared, row) if row.job is None else fetch_trial(prepared, row, coordinator.store)
        if known is None or (known.failure and known.failure.kind == "failed-baseline"):
            left.append(row)
        else:
            ended(row, known)
    unmade = coordinator.quantize(left)
    for unquantized in (True, False):
        rows = [row for row in left if row.cell.quantization.scheme.unquantized == unquantized]
        failures = {row.key: unmade[checkpoint_name(row)] or baselines.failure(row) for row in rows}
        for row in rows:
            failure = failures[row.key]
            if failure is not None:
                ended(row, failed_trial(prepared, row, failure))
        for row, trial in coordinator.measure([row for row in rows if failures[row.key] is None]):
            ended(row, trial)
