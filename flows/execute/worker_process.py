"""Checkpoints are made and cells measured in a process of their own, `python -m flows.execute.worker_process`,
started by the sweep.

So Prefect, bars and reports do not share an interpreter with the load client, whose event loop would wait for them; the
orchestrator holds neither lm-eval nor answers; and what breaks this process is a failed row. The two ends talk in lines
of JSON over a Unix socket: down go keys of rows, up come progress and stages. Results are files, as everywhere.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from engines.runtime.entry_points import WORKER_PROCESS
from engines.runtime.process import Child, ProcessFailed, start, stop
from evals.accuracy.lm_eval_tasks import LoadedTasks
from evals.schema.failures import because, failure_of
from evals.schema.trial import Failure, Trial
from flows.execute import rows, spec
from flows.execute.prepare import environments_of, prepare_sweep
from flows.execute.prepared import Prepared, Row
from flows.execute.quantize_checkpoint import finished as finished_checkpoint
from flows.execute.stages import Step, plainly
from flows.plan.source import load_plan
from flows.state.progress_display import Advance, Display, LogDisplay
from flows.state.run_log import logged
from flows.state.status import RunChanged
from flows.validate.plan import check
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


@dataclass
class Here:
    """In this process. lm-eval's tasks are read once, for the first cell that is measured."""

    prepared: Prepared
    _tasks: LoadedTasks | None = None
    _made: dict[str, Checkpoint] = field(default_factory=dict)

    def quantize(self, row: Row, display: Display) -> Checkpoint | Failure:
        made = rows.quantize_row(self.prepared, row, display)
        if row.job is not None and isinstance(made, Checkpoint):
            self._made[row.job.key] = made
        return made

    def measure(self, row: Row, display: Display, step: Step = plainly) -> Trial:
        made = self._made.get(row.job.key if row.job else "") or self.quantize(row, display)
        if isinstance(made, Failure):
            return rows.failed_trial(self.prepared, row, made)
        if self._tasks is None:
            self._tasks = step("load evaluation tasks", lambda: spec.load_sweep_tasks(self.prepared.sweep))
        return rows.measure_row(self.prepared, row, made, self._tasks, display, step)


class Wire:
    """One end of the socket: `send` writes a message, `receive` reads one (None where the other end is gone)."""

    def __init__(self, connection: socket.socket) -> None:
        self._lines, self._out = connection.makefile("r", encoding="utf-8"), connection
        self._lock = threading.Lock()

    def close(self) -> None:
        self._lines.close()
        self._out.close()

    def send(self, kind: str, *values: Any) -> None:
        with self._lock:
            self._out.sendall((json.dumps([kind, *values]) + "\n").encode())

    def receive(self) -> list[Any] | None:
        try:
            line = self._lines.readline()
        except ConnectionError:  # it died while it had something to read
            return None
        return list(json.loads(line)) if line.endswith("\n") else None


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
    bench = Aside(prepared)
    try:
        yield bench
    finally:
        bench.close()


class Aside:
    """In a process of its own. Where it dies its piece of work has failed, and the next gets another process."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._log = prepared.folder / "logs" / "aside.log"
        self._running: tuple[Child, Wire] | None = None

    def quantize(self, row: Row, display: Display) -> Checkpoint | Failure:
        if row.job is not None and (done := finished_checkpoint(row.job)) is not None:
            return done
        try:
            if failure := self._ask("quantize", row, display, plainly):
                return failure
            if row.job is not None and (made := finished_checkpoint(row.job)) is not None:
                return made
            raise CheckpointError("its checkpoint is gone again")
        except CellFailure as error:
            return because("quantization failed", failure_of(error))

    def measure(self, row: Row, display: Display, step: Step) -> Trial:
        try:
            self._ask("measure", row, display, step)
            if (trial := rows.finished(row)) is not None:
                return trial
            raise CellFailure(f"{row.file} is gone again")
        except CellFailure as error:
            return rows.failed_trial(self._prepared, row, failure_of(error))

    def close(self) -> None:
        """End the process, and all that it started."""
        if self._running is not None:
            child, wire = self._running
            self._running = None
            stop(child)
            wire.close()

    def _ask(self, kind: str, row: Row, display: Display, step: Step) -> Failure | None:
        """Have it done, and pass on what is told of it. Raises ProcessFailed where the process dies of it."""
        child, wire = self._running = self._running or self._start()
        try:
            wire.send(kind, row.key)
            return _follow(wire, display, step, {})
        except (BrokenPipeError, EOFError) as error:
            ending, kind = child.ending, child.loss("other")
            self.close()
            raise ProcessFailed(f"the process that measures ended with {ending}", self._log, kind=kind) from error

    def _start(self) -> tuple[Child, Wire]:
        sweep = self._prepared.sweep
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(prefix="bitfrontier-") as folder, socket.socket(socket.AF_UNIX) as listener:
            address = f"{folder}/socket"
            listener.bind(address)
            listener.listen()
            listener.settimeout(0.2)
            where = [address, str(sweep.file), str(self._prepared.folder.parent)]
            where += [sweep.data_root] if sweep.data_root else []
            child = start([sys.executable, *COMMAND, *where], sweep.key_variables, self._log, fetches=True)
            try:
                return child, Wire(_accept(listener, child, self._log))
            except BaseException:  # a Ctrl-C must not leave it behind either
                stop(child)
                raise


def _accept(listener: socket.socket, child: Child, log: Path) -> socket.socket:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and child.returncode is None:
        with contextlib.suppress(TimeoutError):
            connection, _ = listener.accept()
            connection.settimeout(None)
            return connection
    raise ProcessFailed("the process that measures did not start", log)


class _StageFailed(Exception):
    """A stage failed in the other process, which goes on to make a row of it."""


def _follow(wire: Wire, display: Display, step: Step, bars: dict[int, Advance]) -> Failure | None:
    """Until the work, or the stage that was begun, has ended. Raises EOFError where the other end is gone."""
    while (message := wire.receive()) is not None:
        kind, *values = message
        if kind == "stage":
            number, name, total = values
            bars[number] = display.stage(name, total)
        elif kind == "advance":
            number, amount = values
            bars[number](amount)
        elif kind == "say":
            display.say(values[0])
        elif kind == "step":
            with contextlib.suppress(_StageFailed):
                step(values[0], lambda: _follow(wire, display, step, bars))
        elif kind == "failed":
            raise _StageFailed
        elif kind == "told":
            raise Relayed(*values)
        elif kind == "no-write":
            raise OSError(*values)
        else:  # done
            return Failure(**values[0]) if values[0] else None
    raise EOFError


class _Up:
    """The display of the process aside: all goes up the wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire, self._numbers = wire, itertools.count()

    def say(self, text: str) -> None:
        self._wire.send("say", text)

    def stage(self, name: str, total: float) -> Advance:
        number = next(self._numbers)
        self._wire.send("stage", number, name, total)
        return lambda amount: self._wire.send("advance", number, amount)

    overall = stage

    def step(self, name: str, function: Callable[[], T]) -> T:
        self._wire.send("step", name)
        try:
            made = function()
        except BaseException:
            self._wire.send("failed")
            raise
        self._wire.send("done", None)
        return made


def work(wire: Wire, prepared: Prepared) -> None:
    """Do what comes down the wire until its other end is closed."""
    bench, up = Here(prepared), _Up(wire)
    rows = {row.key: row for row in prepared.rows}
    while (message := wire.receive()) is not None:
        kind, key = message
        try:
            if key not in rows:
                raise RunChanged("plan, program, packages or data were changed while they were swept; sweep again")
            made = bench.quantize(rows[key], up) if kind == "quantize" else bench.measure(rows[key], up, up.step)
        except BitfrontierError as error:
            _tell(wire, error)
        except OSError as error:
            wire.send("no-write", error.errno, error.strerror, error.filename)
        else:
            wire.send("done", asdict(made) if isinstance(made, Failure) else None)


def _tell(wire: Wire, error: BitfrontierError) -> None:
    wire.send("told", str(error), error.shown, error.exit_code)


def main() -> None:
    """`python -m flows.execute.worker_process SOCKET PLAN RUNS [DATA_ROOT]`."""
    address, plan, runs, *data_root = sys.argv[1:]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        wire = Wire(connection)
        try:
            sweep = check(load_plan(Path(plan)), data_root=data_root[0] if data_root else None)
            prepared = prepare_sweep(sweep, environments_of(sweep), Path(runs), LogDisplay(lambda _: None))
        except BitfrontierError as error:
            _tell(wire, error)
        else:
            with logged(prepared.folder):
                work(wire, prepared)


if __name__ == "__main__":
    main()
