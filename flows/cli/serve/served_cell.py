"""Which cell of a run is served, and its server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from engines.bounded_http import request
from engines.runtime.environments import Environment, build, is_built
from engines.runtime.process import Child
from engines.runtime.server import serve
from engines.types import Endpoint, Serving
from evals.schema.run_file import check_no_links
from evals.schema.trial import Trial
from flows.cli.retry import prepared_as_begun
from flows.execute.prepared import Prepared, Row
from flows.execute.quantize_checkpoint import check_whole, finished
from flows.execute.rows import quantize_job
from flows.plan.samples import sweep_command
from flows.plan.schema import Plan
from flows.plan.source import suggestion
from flows.state.locks import cache_in_use, slots
from flows.state.progress_display import Display
from flows.state.status import RunChanged
from quant.errors import BitfrontierError
from quant.types import Checkpoint
from reports.decision.recommend import refusal
from reports.decision.results import Results, read_results

ANSWER_SECONDS = 10.0


class NotServed(BitfrontierError):
    """The run recommends no cell, or has none of this name that could be served."""

    exit_code = 2


@dataclass(frozen=True)
class ServedCell:
    """A cell whose server answers."""

    name: str
    endpoint: Endpoint
    child: Child
    context_tokens: int
    wants_key: bool

    @property
    def base_url(self) -> str:
        """As clients of OpenAI's API want it, where the server speaks that."""
        return self.endpoint.url + self.endpoint.dialect.completions.removesuffix("/completions")


def chosen_trial(results: Results, folder: Path, name: str | None) -> Trial:
    """The cell of this name in the run's tables, or the recommended one. Raises NotServed."""
    trials = {trial.name: trial for trial in results.trials if trial.status == "ok"}
    if results.nothing_yet:
        raise NotServed(f"{folder}: {results.nothing_yet}")
    if name is not None:
        if name not in trials:
            raise NotServed(f"{folder}: no measured cell of it is called '{name}'; {suggestion(name, list(trials))}")
        return trials[name]
    chosen = [answer.chosen.cell.trial for answer in results.answers if answer.chosen]
    if len(chosen) == 1 == len(results.answers):
        return chosen[0]
    listing = ", ".join(f"'{trial.name}'" for trial in chosen or trials.values()) or "none was measured"
    if chosen:
        raise NotServed(f"{folder} recommends a cell for each of {len(chosen)} models. Name one: {listing}")
    raise NotServed(f"{folder}: {refusal(results.answers[0], results.models)}. Name a cell: {listing}")


@contextmanager
def served(
    folder: Path, name: str | None, context_tokens: int | None, show_outside: Callable[[Plan], None], display: Display
) -> Iterator[ServedCell]:
    """The cell's server, alone on its device: no sweep measures there meanwhile. Its checkpoint is made where it is not
    here any more.

    Raises NotServed, NoRun, PlanError, RunChanged (also where the run came from somebody else and names what is not
    ours), and what the server fails with.
    """
    check_no_links(folder)
    trial = chosen_trial(read_results(folder), folder, name)
    if trial.provenance.get("attached"):
        raise NotServed(f"{trial.name} was measured at an attached server: {trial.provenance['attached']}")
    with cache_in_use():
        prepared = prepared_as_begun(folder, show_outside)
        row = _row(prepared, trial)
        environment, checkpoint = _ready(prepared, row, display)
        sweep, choice = prepared.sweep, row.cell.choice
        context = context_tokens or sweep.max_model_len
        wanted = Serving(
            Path(checkpoint.folder), sweep.device, sweep.plan.thread_count, context, scheme=row.cell.quantization.scheme
        )
        log, limits = folder / "logs" / f"serve-{row.file.stem}.log", sweep.plan.time_limits.of_server
        display.say(f"starting {trial.name}; log: {log}")
        with (
            slots(sweep.device.slots, display.waiting),
            serve(choice.engine, environment, wanted, choice.options, log=log, limits=limits) as (endpoint, child),
        ):
            yield ServedCell(trial.name, endpoint, child, context, asks_for_key(endpoint))


def asks_for_key(endpoint: Endpoint) -> bool:
    """Whether a request without the key is refused (three engines know none, docs/reference/keys.md)."""
    if endpoint.dialect.key_field:
        return True
    with suppress(httpx.HTTPError):
        url = endpoint.url + endpoint.dialect.completions
        return request("POST", url, {}, seconds=ANSWER_SECONDS, json={}).status_code in (401, 403)
    return True  # it does not answer strangers


def _row(prepared: Prepared, trial: Trial) -> Row:
    """The row of the plan that was measured as this trial. Raises RunChanged where there is none any more."""
    row = next((row for row in prepared.rows if row.key == trial.key), None)
    if row is None or row.job is None:
        sweep = prepared.sweep
        command = sweep_command(sweep.file, sweep.data_root, sweep.changes, sweep.bundle)
        raise RunChanged(
            f"{trial.name} would not be served as measured: program or packages changed since "
            f"{prepared.folder} was made. `{command}` measures it again"
        )
    return row


def _ready(prepared: Prepared, row: Row, display: Display) -> tuple[Environment, Checkpoint]:
    """The engine's environment and the checkpoint, made where they are not there."""
    assert row.job is not None
    checkpoint = finished(row.job)
    method_environment = row.cell.quantization.method.environment if checkpoint is None else None
    for needed in filter(None, (method_environment, row.cell.environment)):
        if not is_built(prepared.environments[needed]):
            build(prepared.environments[needed], display.say)
    made = checkpoint or quantize_job(row.job, prepared.sweep.plan, display)
    check_whole(made)
    return prepared.environments[row.cell.environment], made
