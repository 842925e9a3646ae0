"""A sweep over many machines: its checkpoints, its cells and the rounds of its race are deployment runs, for whichever
worker is free.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed

from evals.schema.failures import failure_of
from evals.schema.trial import Failure, Trial
from flows.bundle.use import from_bundle
from flows.distributed.object_store import Store, StoreError, open_store
from flows.distributed.worker_rounds import FAILURES, Order, make_round, publish_visits, visit_name
from flows.distributed.worker_tasks import (
    Made,
    OtherWork,
    checkpoint_name,
    fetch_parts,
    fetch_trial,
    make_checkpoint,
    measure_cell,
    publish_parts,
    trial_name,
)
from flows.execute.prepared import Baselines, Prepared, Row
from flows.execute.rows import failed_trial, unsupported_trial
from flows.orchestration import artifacts
from flows.orchestration.deployment_runs import (
    ATTEMPTS,
    OF_ONE_WORKER,
    DeploymentRuns,
    Kind,
    Work,
    allowed_bundle,
    ended,
    load_allowed,
    require_newest,
)
from flows.orchestration.rounds import run_race
from flows.plan.changes import changes_of
from flows.plan.source import PlanError
from flows.race.contenders import Entry, first_round, is_visited
from flows.state.locks import cache_in_use
from flows.state.progress_display import Display, LogDisplay, SweepDisplay, cell_line
from flows.state.remaining import Remaining
from flows.state.status import running_lock
from flows.validate.plan import check
from flows.validate.resolved import ResolvedPlan
from quant.errors import BitfrontierError
from quant.foreign_failures import FULL

Make = Callable[[ResolvedPlan, str, Store, Display], Made]


class RoundLost(BitfrontierError):
    """No worker has visited a round to its end."""


@dataclass(frozen=True)
class Source:
    """What a worker's share of a sweep is made from, as Prefect hands it over.

    `plan` is the path of a file, `changes` are as in `Changes.plain`, `bundle` is the folder that all comes from.
    """

    plan: str
    data_root: str | None = None
    changes: dict[str, list[str]] | None = None
    bundle: str | None = None


@flow(name="checkpoint", persist_result=False)
def checkpoint(source: Source, store: str, name: str) -> State:
    """Quantize once, for all machines of a sweep, which starts this itself."""
    return _make(make_checkpoint, source, store, name)


@flow(name="cell", persist_result=False)
def cell(source: Source, store: str, name: str) -> State:
    """Measure one cell of a sweep, which starts this itself."""
    return _make(measure_cell, source, store, name)


@flow(name="round", persist_result=False)
def race_round(source: Source, store: str, name: str) -> State:
    """Visit the cells of one round of a race, of a sweep, which starts this itself."""
    return _make(
        partial(make_round, require_newest=partial(require_newest, open_store(store), name)), source, store, name
    )


def _make(make: Make, source: Source, url: str, name: str) -> State:
    """Failed where there is no result, by a name that says whether another worker would end alike."""
    display, store = LogDisplay(get_run_logger().info), open_store(url)
    with cache_in_use():
        try:
            parsed = load_allowed(Path(source.plan), changes_of(source.changes))
            root = source.data_root
            sweep = from_bundle(
                allowed_bundle(source.bundle), lambda base: check(parsed, data_root=root, base=base), display
            )
            made = make(sweep, name, store, display)
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
    """A sweep whose checkpoints, trials and rounds workers make, and where they meet."""

    prepared: Prepared
    store: Store
    display: SweepDisplay

    def require_deployments(self) -> None:
        """Raises NotDeployed."""
        kinds: list[Kind] = ["checkpoint", "cell"]
        self._runs().require_deployments([*kinds, "round"] if self.prepared.sweep.plan.race else kinds)

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

    def make_round(
        self, number: int, racing: Sequence[Entry], left: Remaining
    ) -> Iterator[tuple[Entry, Failure | None]]:
        """Have a worker make what of a round is nowhere yet, and bring all its visits here. Raises RoundLost."""
        publish_visits(self.prepared, racing, number, self.store)
        names, there = [visit_name(entry, number) for entry in racing], self.store.names("visits")
        missing = {name: entry for name, entry in zip(names, racing, strict=True) if name not in there}
        failures = self._without_checkpoint(missing)
        if missing.keys() - failures.keys():
            failures |= self._visit(number, [name for name in names if name not in failures])
        for name, entry in zip(names, racing, strict=True):
            if name not in failures and not is_visited(self.prepared, entry, number):
                self.store.fetch(name, self.prepared.folder)
            left.ends(entry.key)
            yield entry, failures.get(name)

    def _without_checkpoint(self, missing: Mapping[str, Entry]) -> dict[str, Failure]:
        """Why checkpoints of these visits cannot be made, by the visits' names. One that is in the store no more, or
        was made elsewhere, is made first, and not between two visits.
        """
        there = self.store.names("checkpoints")
        rows = [entry.row for entry in missing.values() if checkpoint_name(entry.row) not in there]
        unmade = self.quantize(rows) if rows else {}
        failures = {name: unmade.get(checkpoint_name(entry.row)) for name, entry in missing.items()}
        return {name: failure for name, failure in failures.items() if failure is not None}

    def _visit(self, number: int, names: Sequence[str]) -> dict[str, Failure]:
        """Have a worker make the visits of these names, but those in the store; why some failed, by name. What only one
        worker lacks, another may have: it is asked for those that are missing.

        Raises RoundLost.
        """
        orders = (Order(number, tuple(names), attempt) for attempt in itertools.count())
        new = (order for order in orders if not self.store.has(order.name))
        failures: dict[str, Failure] = {}
        for order in itertools.islice(new, ATTEMPTS):
            self.store.publish_record(order.order_name, order)
            ((_, lost),) = self._runs().results([Work("round", order.name, self._title(f"round {number}"))])
            if lost is not None:
                raise RoundLost(
                    f"round {number} of the race was not visited to its end: {lost.kind}: {lost.cause}. Sweep again: "
                    "its finished visits are kept"
                )
            failures = self.store.record(order.name, FAILURES)
            if not any(failure.kind in OF_ONE_WORKER for failure in failures.values()):
                break
        return failures

    def _title(self, text: str) -> str:
        return f"{text} · {self.prepared.sweep.plan.name}"

    def _runs(self) -> DeploymentRuns:
        sweep = self.prepared.sweep
        source = Source(str(sweep.file), sweep.data_root, sweep.changes.plain, sweep.bundle)
        return DeploymentRuns(sweep.device.kind, self.store, {"source": asdict(source)}, self.display.say)


def spread(prepared: Prepared, url: str, display: SweepDisplay) -> None:
    """Have every cell of a sweep measured on workers, baselines first, then the rounds of its race, and bring trials
    and visits here. Raises NotDeployed, RoundLost and StoreError.
    """
    coordinator, count = Spread(prepared, open_store(url), display), len(prepared.rows)
    coordinator.require_deployments()
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
    for row in first_round(prepared):
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
    run_race(prepared, coordinator.make_round, display)
