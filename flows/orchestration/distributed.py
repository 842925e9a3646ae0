"""A sweep over many machines: its checkpoints and cells are deployment runs, for whichever worker is free."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.states import Crashed

from evals.schema.failures import failure_of
from evals.schema.trial import Failure, Trial
from flows.distributed.leases import Ended, Piece, RunState, at_work, hand_out, publish_failure
from flows.distributed.object_store import Store, StoreError, open_store
from flows.distributed.worker_tasks import checkpoint_name, fetch_trial, find, make_checkpoint, measure_cell, trial_name
from flows.execute.prepared import Prepared, Row
from flows.execute.rows import baseline_failure, failed_trial, unsupported_trial
from flows.orchestration import artifacts
from flows.plan.source import load_plan
from flows.state.locks import cache_in_use, hold
from flows.state.progress_display import Display, LogDisplay, cell_line
from flows.state.status import running_lock
from flows.validate.plan import check
from quant.errors import BitfrontierError


@flow(name="checkpoint")
def checkpoint(plan: str, data_root: str | None, store: str, name: str, attempt: str) -> None:
    """Quantize once, for all machines of a sweep, which starts this itself."""
    _work(plan, data_root, open_store(store), name, attempt, make_checkpoint)


@flow(name="cell")
def cell(plan: str, data_root: str | None, store: str, name: str, attempt: str) -> None:
    """Measure one cell of a sweep, which starts this itself."""
    _work(plan, data_root, open_store(store), name, attempt, measure_cell)


def _work(
    plan: str,
    data_root: str | None,
    store: Store,
    name: str,
    attempt: str,
    do: Callable[[Prepared, Row, Store, str, Display], None],
) -> None:
    display = LogDisplay(get_run_logger().info)
    with at_work(store, name, attempt), cache_in_use():
        try:
            prepared, row = find(check(load_plan(Path(plan)), data_root=data_root), name, display)
            do(prepared, row, store, attempt, display)
        except BitfrontierError as error:  # trying again would not help
            publish_failure(store, name, attempt, failure_of(error))


@dataclass(frozen=True)
class DeploymentRuns:
    """Workers of a Prefect work pool, reached by deployments of one kind of device."""

    device: str

    def submit(self, piece: Piece, attempt: str) -> str:
        kind = "checkpoint" if piece.name.startswith("checkpoints/") else "cell"
        given = {**piece.parameters, "name": piece.name, "attempt": attempt}
        started = run_deployment(
            f"{kind}/{self.device}", parameters=given, flow_run_name=piece.title, timeout=0, as_subflow=False
        )
        return str(started.id)  # type: ignore[union-attr]

    def state(self, run: str) -> RunState:
        try:
            with get_client(sync_client=True) as client:
                state = client.read_flow_run(UUID(run)).state
        except ObjectNotFound:  # handed out through a server whose database is another now
            return Ended("Prefect's server does not know its run")
        if state is None or state.is_scheduled():
            return "waiting"
        return Ended(str(state.message or state.name)) if state.is_final() else "running"

    def give_up(self, run: str, why: str) -> None:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(UUID(run), Crashed(message=why), force=True)


@dataclass(frozen=True)
class Spread:
    """A sweep whose pieces are done by workers: what their runs are given, and where results meet."""

    prepared: Prepared
    store: Store
    url: str
    display: Display

    def pieces(self, rows: Sequence[Row], name: Callable[[Row], str], verb: str) -> list[Piece]:
        sweep = self.prepared.sweep
        given = {"plan": str(sweep.file), "data_root": sweep.data_root, "store": self.url}
        titles = {name(row): f"{verb}{row.cell.quantization.label if verb else row.cell.name}" for row in rows}
        return [Piece(piece_name, f"{title} · {sweep.plan.name}", given) for piece_name, title in titles.items()]

    def quantize(self, rows: Sequence[Row]) -> dict[str, Failure | None]:
        """Why there is no checkpoint, or None, by its name in the store."""
        results: dict[str, Failure | None] = {}
        pieces = self.pieces(rows, checkpoint_name, "quantize ")
        advance = self.display.overall("quantize", len(pieces))

        def ended(piece: Piece, failure: Failure | None) -> None:
            results[piece.name] = failure
            advance(1)
            self.display.say(f"  {piece.title}: {failure.cause[:160] if failure else 'there'}")

        hand_out(pieces, self.store, self.runs, ended, self.display.say)
        return results

    def measure(self, rows: Sequence[Row], ended: Callable[[Row, Trial], None]) -> None:
        """Bring each trial here as it ends; until then, whoever looks into the run's folder sees who is at work."""
        by_name = {trial_name(row): row for row in rows}
        advance = self.display.overall("measure", len(rows))
        with ExitStack() as everything:
            seen: dict[str, ExitStack] = {}

            def began(piece: Piece) -> None:
                if piece.name not in seen:
                    seen[piece.name] = everything.enter_context(ExitStack())
                    seen[piece.name].enter_context(hold(running_lock(by_name[piece.name].file)))

            def over(piece: Piece, failure: Failure | None) -> None:
                if piece.name in seen:
                    seen[piece.name].close()
                advance(1)
                row = by_name[piece.name]
                ended(row, _trial(self, row, failure))

            hand_out(self.pieces(rows, trial_name, ""), self.store, self.runs, over, self.display.say, began)

    @property
    def runs(self) -> DeploymentRuns:
        return DeploymentRuns(self.prepared.sweep.device.kind)


def spread(prepared: Prepared, url: str, display: Display) -> None:
    """Have every cell of a sweep measured on workers, baselines first, and bring the trials here."""
    coordinator, count = Spread(prepared, open_store(url), url, display), len(prepared.rows)
    shown = artifacts.progress(prepared.sweep.plan.name, "cells", count)
    broken: dict[tuple[str, int], Failure] = {}
    done = 0

    def ended(row: Row, trial: Trial) -> None:
        nonlocal done
        done += 1
        shown(1)
        if trial.status == "failed" and row.cell.quantization.scheme.unquantized:
            broken[row.engine_key] = baseline_failure(trial)
        display.say(cell_line(trial, done, count))

    left = []
    for row in prepared.rows:
        known = unsupported_trial(prepared, row) if row.job is None else fetch_trial(prepared, row, coordinator.store)
        if known is None:
            left.append(row)
        else:
            ended(row, known)
    unmade = coordinator.quantize(left)
    for unquantized in (True, False):
        rows = [row for row in left if row.cell.quantization.scheme.unquantized == unquantized]
        failures = {row.key: unmade[checkpoint_name(row)] or broken.get(row.engine_key) for row in rows}
        for row in rows:
            failure = failures[row.key]
            if failure is not None:
                ended(row, failed_trial(prepared, row, failure))
        coordinator.measure([row for row in rows if failures[row.key] is None], ended)


def _trial(coordinator: Spread, row: Row, failure: Failure | None) -> Trial:
    if failure is None and (trial := fetch_trial(coordinator.prepared, row, coordinator.store)) is not None:
        return trial
    gone = failure_of(StoreError("its result is not in the store any more"))
    return failed_trial(coordinator.prepared, row, failure or gone)
