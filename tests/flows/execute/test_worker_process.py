"""Work in a process of its own: what comes up its wire, and what becomes of its death."""

from __future__ import annotations

import errno
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

import engines.registry
import flows.execute.worker_process
import quant.registry
from evals.data.local_root import DataError
from evals.schema.trial import Failure
from evals.schema.trial_file import read_trial
from flows.execute import rows, spec
from flows.execute.prepare import environments_of, prepare_sweep
from flows.execute.prepared import Prepared, Row
from flows.execute.worker_process import Here, Relayed, Workbench, _follow, aside, work
from flows.plan.source import load_plan
from flows.state.progress_display import LogDisplay
from flows.state.stages import plainly
from flows.validate.plan import check
from tests.support.fake_sweep import fake_methods, install, write_plan

T = TypeVar("T")
QUIET = LogDisplay(lambda _: None)


class Seen(LogDisplay):
    """Bars as (name, total, done) by name."""

    def __init__(self) -> None:
        super().__init__(lambda _: None)
        self.bars: dict[str, list[float]] = {}
        self.waits: list[str] = []

    def stage(self, name: str, total: float) -> Callable[[float], None]:
        bar = self.bars[name] = [total, 0.0]

        def advance(amount: float) -> None:
            bar[1] += amount

        return advance

    def waiting(self, text: str) -> None:
        self.waits.append(text)


@pytest.fixture
def prepared(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    install(monkeypatch.setattr)
    sweep = check(load_plan(write_plan(workplace, ["none", "raises", "other"])))
    made = prepare_sweep(sweep, environments_of(sweep), workplace / "runs", QUIET)
    (made.folder / "trials").mkdir(parents=True)
    return made


def _row(prepared: Prepared, method: str) -> Row:
    return next(row for row in prepared.rows if row.cell.quantization.method.name == method)


@contextmanager
def _other_end(prepared: Prepared) -> Iterator[Connection]:
    """`work` in a thread, and our end of its connection."""
    ours, theirs = Pipe()
    thread = threading.Thread(target=work, args=(theirs, prepared))
    thread.start()
    with ours, theirs:
        yield ours
        ours.close()
        thread.join()


def _ask(connection: Connection, kind: str, row: Row, display: Any = QUIET, step: Any = plainly) -> Failure | None:
    connection.send((kind, row.key, None))
    return _follow(connection, display, step, {})


def test_stages_and_progress_come_up_the_connection(prepared: Prepared) -> None:
    steps: list[str] = []
    seen = Seen()

    def step(name: str, function: Callable[[], T]) -> T:
        steps.append(name)
        try:
            return function()
        finally:
            steps.append(f"/{name}")

    row = _row(prepared, "none")
    with _other_end(prepared) as connection:
        assert _ask(connection, "quantize", row, seen) is None
        assert _ask(connection, "measure", row, seen, step) is None
    assert read_trial(row.file).status == "ok"
    assert steps[:3] == ["start", "/start", "gates"]  # tasks were loaded before the checkpoint was made
    assert steps[-2:] == ["task arc_easy", "/task arc_easy"]
    assert seen.bars["gates"] == [2, 2]
    assert seen.bars["speed"] == [4, 4]


def test_whom_a_cell_waits_for_comes_up_the_connection(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def held_by_another(_: object, waits: Callable[[str], None]) -> Iterator[None]:
        waits("waiting for PID 12")
        waits("")
        yield

    monkeypatch.setattr(rows, "slots", held_by_another)
    seen, row = Seen(), _row(prepared, "none")
    with _other_end(prepared) as connection:
        assert _ask(connection, "quantize", row, seen) is None
        assert _ask(connection, "measure", row, seen) is None
    assert seen.waits == ["waiting for PID 12", ""] * 2


@pytest.mark.parametrize("error", [ValueError("no luck in the gates"), SystemExit("a tool ended itself")])
def test_a_failed_stage_is_shown_as_failed_and_its_cell_is_a_row(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def broken(*_: Any) -> None:
        raise error

    monkeypatch.setattr("flows.execute.measure_cell._gates", broken)
    row, ended = _row(prepared, "none"), dict[str, str]()

    def step(name: str, function: Callable[[], T]) -> T:
        try:
            made = function()
        except BaseException as error:
            ended[name] = type(error).__name__
            raise
        ended[name] = "well"
        return made

    with _other_end(prepared) as connection:
        assert _ask(connection, "measure", row, step=step) is None
    assert read_trial(row.file).reason == f"{type(error).__name__}: {error}"
    assert ended == {"start": "well", "gates": "_StageFailed"}


def test_what_ends_a_sweep_is_said_in_the_same_words(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_data(_: Any) -> None:
        raise DataError("data/arc is not there; fetch it")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "trials/x.json")

    row = _row(prepared, "none")
    with _other_end(prepared) as connection:
        with monkeypatch.context() as once:
            once.setattr(spec, "load_sweep_tasks", no_data)
            with pytest.raises(Relayed, match=r"^data/arc is not there; fetch it$") as raised:
                _ask(connection, "measure", row)
        assert (raised.value.shown, raised.value.exit_code) == ("error: data/arc is not there; fetch it", 1)
        monkeypatch.setattr(rows, "save_trial", full)
        with pytest.raises(OSError, match=r"\[Errno 28\] No space left on device: 'trials/x.json'"):
            _ask(connection, "measure", row)
        connection.send(("measure", "a key of yesterday", None))
        with pytest.raises(Relayed, match=r"^program, packages or data were changed while they were swept") as raised:
            _follow(connection, QUIET, plainly, {})
        assert raised.value.exit_code == 2


def test_why_there_is_no_checkpoint(prepared: Prepared) -> None:
    row = _row(prepared, "raises")
    with _other_end(prepared) as connection:
        failure = _ask(connection, "quantize", row)
    assert failure is not None
    assert (failure.kind, failure.cause) == (
        "method-failed",
        "quantization failed: RuntimeError: this method has no luck",
    )
    with pytest.raises(ValueError, match=r"other .* is unsupported: the fake engine reads no other format"):
        rows.quantize_row(prepared, _row(prepared, "other"), QUIET)
    trial = Here(prepared).measure(row, QUIET)
    assert trial.status == "failed"
    assert "this method has no luck" in trial.reason


def _aside(prepared: Prepared, monkeypatch: pytest.MonkeyPatch, code: str) -> AbstractContextManager[Workbench]:
    """One whose process runs `code`, with `connection` at hand; the plan that is sent first stays unread."""
    text = (
        "import os, signal, sys, time\nfrom multiprocessing.connection import Listener\n"
        f"connection = Listener(sys.argv[1], family='AF_UNIX').accept()\nconnection.recv_bytes()\n{code}"
    )
    monkeypatch.setattr(flows.execute.worker_process, "COMMAND", ("-c", text))
    return aside(prepared)


def test_its_death_is_a_row_and_the_next_cell_has_another(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    dies = "print('last words', flush=True)\nconnection.recv()\nos.kill(os.getpid(), signal.SIGKILL)"
    row = _row(prepared, "none")
    with _aside(prepared, monkeypatch, dies) as bench:
        message = "the process that measures ended with signal SIGKILL: last words"
        for _ in range(2):
            trial = bench.measure(row, QUIET, plainly)
            assert trial.status == "failed"
            assert (trial.reason, trial.failure and trial.failure.kind) == (message, "worker-lost")
        failure = bench.quantize(row, QUIET)
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.cause) == ("worker-lost", f"quantization failed: {message}")
    assert read_trial(row.file).reason == trial.reason


def test_it_says_why_it_did_not_start(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.execute.worker_process, "COMMAND", ("-c", "raise SystemExit('no module of that name')"))
    row = _row(prepared, "none")
    with aside(prepared) as bench:
        trial = bench.measure(row, QUIET, plainly)
    assert "the process that measures did not start" in trial.reason
    assert "no module of that name" in trial.reason


def test_one_that_dies_before_it_has_read_the_plan_is_a_row(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reset(_: Connection, __: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(Connection, "send", reset)
    with _aside(prepared, monkeypatch, "time.sleep(600)") as bench:
        trial = bench.measure(_row(prepared, "none"), QUIET, plainly)
    assert trial.reason.startswith("the process that measures did not start")


def test_what_was_told_to_be_done_and_is_not_there_is_a_failure(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = _row(prepared, "none")
    answers = "while connection.recv():\n    connection.send(('done', None))"
    with _aside(prepared, monkeypatch, answers) as bench:
        failure = bench.quantize(row, QUIET)
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.cause) == (
            "unreadable-checkpoint",
            "quantization failed: its checkpoint is missing again",
        )
        assert bench.measure(row, QUIET, plainly).reason == f"{row.file} is missing again"


def test_it_ends_with_the_sweep(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Connection) -> None:
        raise KeyboardInterrupt

    _aside(prepared, monkeypatch, "connection.recv()\ntime.sleep(600)")
    monkeypatch.setattr(Connection, "recv", interrupted)
    before, row = _children(), _row(prepared, "none")
    with pytest.raises(KeyboardInterrupt), aside(prepared) as bench:
        bench.measure(row, QUIET, plainly)
    assert _children() <= before


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def test_a_real_process_gets_the_plan_and_finds_its_plug_ins_by_name(prepared: Prepared) -> None:
    """The plan's engine is planted in this process alone, so the other one has none of that name."""
    with aside(prepared) as bench, pytest.raises(Relayed, match=r"^engine 'fake' is not installed here; `bitfr"):
        bench.measure(_row(prepared, "none"), QUIET, plainly)


def test_a_resolved_plan_crosses_whole(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = prepared.sweep.cells[0].choice.engine
    monkeypatch.setattr(engines.registry, "engines_by_name", lambda: {engine.name: engine})
    monkeypatch.setattr(quant.registry, "methods", fake_methods)
    crossed = pickle.loads(pickle.dumps(prepared.sweep))
    assert crossed == prepared.sweep
    assert [id(cell.choice) for cell in crossed.cells] != [id(cell.choice) for cell in prepared.sweep.cells]
    shared = [[cell.choice is other.choice for other in crossed.cells] for cell in crossed.cells]
    assert shared == [[a.choice is b.choice for b in prepared.sweep.cells] for a in prepared.sweep.cells]


def test_it_holds_no_prefect() -> None:
    code = "import sys, flows.execute.worker_process; raise SystemExit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
