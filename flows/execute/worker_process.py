"""Checkpoints are made and cells measured in a process of their own that the sweep starts.

So Prefect, bars and reports do not share an interpreter with the load client, whose event loop would wait for them; the
orchestrator holds neither lm-eval nor answers; and what breaks this process is a failed row. The two ends talk through
a `multiprocessing.connection` over a Unix socket in a folder that only this user can enter, for what they send is
pickled: down go the resolved plan and then keys of rows, up come progress and stages. Results are files, as everywhere.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from engines.runtime.entry_points import WORKER_PROCESS
from engines.runtime.process import Child, ProcessFailed, start, stop
from engines.telemetry.disturbance import Sentinel
from evals.schema.failures import because, failure_of
from evals.schema.trial import Failure, Trial
from evals.tasks.loaded_tasks import LoadedTasks
from flows.execute import rows, spec
from flows.execute.prepare import environments_of, prepare_sweep
from flows.execute.prepared import Prepared, Row
from flows.execute.quantize_checkpoint import finished as finished_checkpoint
from flows.execute.visits import Visit, visit_row
from flows.state.progress_display import Advance, Display, LogDisplay
from flows.state.run_log import logged
from flows.state.stages import Step, plainly
from flows.state.status import RunChanged
from quant.checkpoints.safetensors import CheckpointError
from quant.errors import BitfrontierError, CellFailure
from quant.types import Checkpoint

T = TypeVar("T")
COMMAND: tuple[str, ...] = ("-m", WORKER_PROCESS)
READY_SECONDS = 180.0


class Workbench(Protocol):
    """Where a sweep's checkpoints are made and its cells measured."""

    def quantize(self, row: Row, display: Display) -> Checkpoint | Failure:
        """The checkpoint of a row that is supported, or why there is none."""

    def measure(self, row: Row, display: Display, step: Step) -> Trial:
        """The row's trial, saved."""

    def visit(self, row: Row, visit: Visit, display: Display, step: Step) -> Failure | None:
        """A later visit in a race; what kept it from being measured, if anything did."""


@dataclass
class Here:
    """In this process. lm-eval's tasks are read once, for the first cell that is measured."""

    prepared: Prepared
    _tasks: LoadedTasks | None = None
    _made: dict[str, Checkpoint] = field(default_factory=dict)
    _sentinels: list[Sentinel] = field(default_factory=list)

    def quantize(self, row: Row, display: Display) -> Checkpoint | Failure:
        self._loaded(plainly)  # before hours of work: without them nothing can be scored
        made = rows.quantize_row(self.prepared, row, display)
        if row.job is not None and isinstance(made, Checkpoint):
            self._made[row.job.key] = made
        return made

    def measure(self, row: Row, display: Display, step: Step = plainly) -> Trial:
        made = self._made.get(row.job.key if row.job else "") or self.quantize(row, display)
        if isinstance(made, Failure):
            return rows.failed_trial(self.prepared, row, made)
        return rows.measure_row(self.prepared, row, made, self._loaded(step), display, step)

    def visit(self, row: Row, visit: Visit, display: Display, step: Step = plainly) -> Failure | None:
        made = self._made.get(row.job.key if row.job else "") or self.quantize(row, display)
        if isinstance(made, Failure):
            return made
        return visit_row(self.prepared, row, made, visit, self._loaded(step), display, self._sentinels, step)

    def _loaded(self, step: Step) -> LoadedTasks:
        if self._tasks is None:
            self._tasks = step("load evaluation tasks", lambda: spec.load_sweep_tasks(self.prepared.sweep))
        return self._tasks


class Relayed(BitfrontierError):
    """What the other process said, in its words."""

    def __init__(self, text: str, shown: str, exit_code: int) -> None:
        super().__init__(text)
        self._shown, self.exit_code = shown, exit_code

    @property
    def shown(self) -> str:
        return self._shown


@contextlib.contextmanager
def aside(prepared: Prepared) -> Iterator[Workbench]:
    """The workbench of a sweep; its process starts with the first piece of work, and ends with the block."""
    with (
        tempfile.TemporaryDirectory(prefix="bitfrontier-") as folder,
        contextlib.closing(Aside(prepared, Path(folder) / "socket")) as bench,
    ):
        yield bench


class Aside:
    """In a process of its own. Where it dies its piece of work has failed, and the next gets another process."""

    def __init__(self, prepared: Prepared, socket: Path) -> None:
        self._prepared, self._socket = prepared, socket
        self._log = prepared.folder / "logs" / "aside.log"
        self._running: tuple[Child, Connection] | None = None

    def quantize(self, row: Row, display: Display) -> Checkpoint | Failure:
        if row.job is not None and (done := finished_checkpoint(row.job)) is not None:
            return done
        try:
            if failure := self._ask("quantize", row, display, plainly):
                return failure
            if row.job is not None and (made := finished_checkpoint(row.job)) is not None:
                return made
            raise CheckpointError("its checkpoint is missing again")
        except CellFailure as error:
            return because("quantization failed", failure_of(error))

    def measure(self, row: Row, display: Display, step: Step) -> Trial:
        try:
            self._ask("measure", row, display, step)
            if (trial := rows.finished(row)) is not None:
                return trial
            raise CellFailure(f"{row.file} is missing again")
        except CellFailure as error:
            return rows.failed_trial(self._prepared, row, failure_of(error))

    def visit(self, row: Row, visit: Visit, display: Display, step: Step) -> Failure | None:
        try:
            return self._ask("measure", row, display, step, visit)
        except CellFailure as error:
            return failure_of(error)

    def close(self) -> None:
        """End the process, and all that it started."""
        if self._running is not None:
            child, connection = self._running
            self._running = None
            stop(child)
            connection.close()

    def _ask(self, kind: str, row: Row, display: Display, step: Step, visit: Visit | None = None) -> Failure | None:
        """Have it done, and pass on what is told of it. Raises ProcessFailed where the process dies of it."""
        child, connection = self._running = self._running or self._start()
        try:
            connection.send((kind, row.key, visit))
            return _follow(connection, display, step, {})
        except (ConnectionError, EOFError) as error:
            ending, kind = child.ending, child.loss("other")
            self.close()
            raise ProcessFailed(f"the process that measures ended with {ending}", self._log, kind=kind) from error

    def _start(self) -> tuple[Child, Connection]:
        sweep = self._prepared.sweep
        for left in (self._log, self._socket):
            left.unlink(missing_ok=True)
        child = start([sys.executable, *COMMAND, str(self._socket)], sweep.key_variables, self._log, fetches=True)
        try:
            connection = _connect(self._socket, child, self._log)
            connection.send((replace(sweep, file=sweep.file.absolute()), self._prepared.folder.parent.absolute()))
        except BaseException as error:  # a Ctrl-C must not leave it behind either
            stop(child)
            if isinstance(error, ConnectionError):  # it died before it had read the plan
                raise ProcessFailed("the process that measures did not start", self._log) from error
            raise
        return child, connection


def _connect(socket: Path, child: Child, log: Path) -> Connection:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and child.returncode is None:
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):  # it imports what it needs before
            return Client(str(socket), family="AF_UNIX")
        time.sleep(0.05)
    raise ProcessFailed("the process that measures did not start", log)


class _StageFailed(Exception):
    """A stage failed in the other process, which goes on to make a row of it."""


RAISED: Mapping[str, type[Exception]] = {"failed": _StageFailed, "error": Relayed, "no-write": OSError}


def _follow(connection: Connection, display: Display, step: Step, bars: dict[int, Advance]) -> Failure | None:
    """Until the work, or the stage that was begun, has ended. Raises EOFError where the other end is gone."""
    while True:
        kind, *values = connection.recv()
        if kind == "stage":
            number, name, total = values
            bars[number] = display.stage(name, total)
        elif kind == "advance":
            number, amount = values
            bars[number](amount)
        elif kind in ("say", "waiting"):
            getattr(display, kind)(values[0])
        elif kind == "step":
            with contextlib.suppress(_StageFailed):
                step(values[0], lambda: _follow(connection, display, step, bars))
        elif kind in RAISED:
            raise RAISED[kind](*values)
        else:  # done
            return cast(Failure | None, values[0])


class _Up:
    """The sweep's end of the connection, and a display: threads of this process may use it at the same time."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._numbers, self._lock = connection, itertools.count(), threading.Lock()

    def send(self, kind: str, *values: Any) -> None:
        with self._lock:
            self._connection.send((kind, *values))

    def say(self, text: str) -> None:
        self.send("say", text)

    def waiting(self, text: str) -> None:
        self.send("waiting", text)

    def stage(self, name: str, total: float) -> Advance:
        number = next(self._numbers)
        self.send("stage", number, name, total)
        return lambda amount: self.send("advance", number, amount)

    overall = stage

    def step(self, name: str, function: Callable[[], T]) -> T:
        self.send("step", name)
        try:
            made = function()
        except BaseException:
            self.send("failed")
            raise
        self.send("done", None)
        return made

    def error(self, error: BitfrontierError) -> None:
        self.send("error", str(error), error.shown, error.exit_code)


def work(connection: Connection, prepared: Prepared) -> None:
    """Do what comes down the connection until its other end is closed."""
    bench, up = Here(prepared), _Up(connection)
    rows = {row.key: row for row in prepared.rows}
    while True:
        try:
            kind, key, visit = connection.recv()
        except (ConnectionError, EOFError):
            return
        try:
            if (row := rows.get(key)) is None:
                raise RunChanged("program, packages or data were changed while they were swept; sweep again")
            made: object = bench.quantize(row, up) if kind == "quantize" else None
            if kind == "measure":
                made = bench.visit(row, visit, up, up.step) if visit else bench.measure(row, up, up.step)
        except BitfrontierError as error:
            up.error(error)
        except OSError as error:
            up.send("no-write", error.errno, error.strerror, error.filename)
        else:
            up.send("done", made if isinstance(made, Failure) else None)


def main() -> None:
    """`python -m flows.execute.worker_process SOCKET`."""
    with Listener(sys.argv[1], family="AF_UNIX") as listener:
        connection = listener.accept()
    with connection:
        try:
            sweep, runs = connection.recv()
            prepared = prepare_sweep(sweep, environments_of(sweep), runs, LogDisplay(lambda _: None))
        except BitfrontierError as error:
            _Up(connection).error(error)
        else:
            # `datasets` and `evaluate` take a folder of the working directory for the hub's of that name, and run it
            with contextlib.chdir("/"), logged(prepared.folder):
                work(connection, prepared)


if __name__ == "__main__":
    main()
