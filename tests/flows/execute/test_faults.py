"""Planted failures, real processes: each becomes a row with its cause and a remedy, and the rest of the sweep goes on."""

from __future__ import annotations

import errno
import importlib
import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

import flows.execute.rows
import flows.execute.spec
import flows.validate.engines
from engines.registry import Engine
from engines.runtime.environments import Environment, EnvironmentFailed
from evals.schema.failures import failure_of
from evals.schema.trial import Failure, Trial
from evals.schema.trial_file import read_trial
from flows.cli import commands, sweep_command
from flows.execute.quantize_checkpoint import check_whole
from flows.execute.rows import Prepared
from flows.orchestration.api_server import PrefectLost
from flows.plan.source import load_plan
from flows.state.locks import is_held, slot_lock
from flows.state.progress_display import LogDisplay
from flows.validate.plan import check
from quant.canonical_json import write_json
from quant.checkpoints.safetensors import CheckpointError
from quant.types import Checkpoint, read_checkpoint
from tests.support.fake_sweep import fake_engines, install, write_plan
from tests.support.sweep_process import has_child, start_sweep, wait_for

ENGINES = {
    "exits": ("crash-at-start", "ended with exit code 7 before it was ready: no such kernel on", "what it lacks"),
    "starved": ("out-of-memory", "before it was ready: torch.OutOfMemoryError: CUDA out of memory", "KV cache"),
    "taken": ("port-taken", "Address already in use", "takes ports"),
    "dies-in-stream": ("crash-in-use", "ended with signal SIGKILL while it was used (a request", "end of the log"),
    "hang-in-stream": ("timeout", "no answer for 5 s (`time_limits: request_seconds`)", "raise the limit"),
    "nan": ("garbage-output", "gate 'golden prompt' failed: log-probabilities differ", "does not compute"),
    "page": ("garbage-output", "/score answered with what is not JSON: '<html>'", "does not compute"),
    "wrong-counts": (
        "wrong-token-counts",
        "4 prompt and 3 output tokens where 4 and 4 were asked for",
        "another version",
    ),
}
METHODS = {
    "raises": ("method-failed", "quantization failed: RuntimeError: this method has no luck", "its parameters"),
    "starves": ("out-of-memory", "MemoryError", "calibrate with fewer or shorter samples"),
    "fills": ("full-disk", "No space left on device", "free space"),
    "killed": ("worker-lost", "the worker ended with signal SIGKILL", "who ended it"),
    "torn": ("unreadable-checkpoint", "weights have 100 bytes where", "made again"),
    "elsewhere": (
        "missing-environment",
        "environment 'openvino' could not be built: uv pip install failed: ",
        "network",
    ),
}
QUIET = LogDisplay(lambda text: None)
SILENT = {"torn"}  # nothing ran, so there is no log


def _engines() -> dict[str, Engine]:
    made = {name: replace(fake_engines(name)["fake"], name=name) for name in ENGINES}
    return {"fake": fake_engines()["fake"], **made}


def _plan(workplace: Path) -> Path:
    """Every faulty engine on the baseline, every faulty method in the good engine."""
    file = write_plan(workplace, ["none", *METHODS])
    plan = yaml.safe_load(file.read_text())
    plan["engines"] = [{"engine": "fake"}, *({"engine": name, "methods": ["none"]} for name in ENGINES)]
    plan["time_limits"] = {"request_seconds": 5.0}
    file.write_text(yaml.safe_dump(plan))
    return file


def _cut_short(workplace: Path) -> None:
    """What a disk may do to a checkpoint after it was finished."""
    records = workplace.glob("cache/checkpoints/*/bitfrontier-checkpoint.json")
    (folder,) = [record.parent for record in records if json.loads(record.read_text())["spec"]["method"] == "torn"]
    os.truncate(folder / "model.safetensors", 100)


def _trials(report: Path) -> dict[str, Trial]:
    names = json.loads((report.parent / "sweep.json").read_text())["trials"]
    trials = [read_trial(report.parent / "trials" / name) for name in names]
    return {trial.engine if trial.engine != "fake" else trial.method: trial for trial in trials}


def _left(before: set[int]) -> list[psutil.Process]:
    processes = psutil.Process().children(recursive=True)
    return [process for process in processes if process.pid not in before and process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.usefixtures("prefect")
def test_every_failure_is_a_row_and_the_sweep_goes_on(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.orchestration.sweep import sweep

    install(monkeypatch.setattr)
    monkeypatch.setattr(flows.validate.engines, "engines_by_name", _engines)
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(workplace / "nothing"))
    module = importlib.import_module("flows.orchestration.sweep")
    measure, before = module._measure_all, {child.pid for child in psutil.Process().children(recursive=True)}

    def torn_meanwhile(*arguments: Any) -> None:
        _cut_short(workplace)
        measure(*arguments)

    monkeypatch.setattr(module, "_measure_all", torn_meanwhile)
    report = Path(sweep(plan=str(_plan(workplace)), runs=str(workplace / "runs")))
    trials, page = _trials(report), report.read_text()
    assert trials.pop("none").status == "ok"
    assert set(trials) == {*ENGINES, *METHODS}
    for name, (kind, cause, remedy) in {**ENGINES, **METHODS}.items():
        failure = trials[name].failure
        assert (trials[name].status, failure and failure.kind) == ("failed", kind), (name, trials[name].reason)
        assert failure is not None
        assert cause in failure.cause
        assert remedy in failure.remedy
        assert bool(failure.log_tail) == (name not in SILENT), name
        assert f"{kind}: " in page
        assert trials[name].reason == failure.cause
    assert not _left(before)
    assert not is_held(slot_lock("cpu"))
    _what_can_be_mended_is(workplace)


def _prepared(workplace: Path) -> Prepared:
    checked = check(load_plan(workplace / "plan.yaml"))
    return flows.execute.prepare.prepare_sweep(
        checked, flows.execute.prepare.environments_of(checked), workplace / "runs", QUIET
    )


def _what_can_be_mended_is(workplace: Path) -> None:
    """Failed rows stay, but for those whose environment is there now; a checkpoint that is not whole is made again."""
    prepared = _prepared(workplace)
    rows = {row.cell.quantization.method.name: row for row in prepared.rows if row.cell.choice.engine.name == "fake"}
    still = failure_of(EnvironmentFailed("environment 'openvino' could not be built: still"))
    flows.execute.rows.note_missing(prepared, {"openvino": still})
    assert rows["elsewhere"].file.exists()
    flows.execute.rows.note_missing(prepared, {})
    assert [name for name, row in rows.items() if not row.file.exists()] == ["elsewhere"]
    assert not flows.execute.rows.has_checkpoint(rows["torn"])
    assert isinstance(flows.execute.rows.quantize_row(prepared, rows["torn"], QUIET), Checkpoint)
    assert flows.execute.rows.has_checkpoint(rows["torn"])


@pytest.mark.usefixtures("prefect")
def test_nothing_can_be_gated_without_the_reference(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.orchestration.sweep import sweep

    def refused(environment: Environment, say: object) -> None:
        if environment.name == "transformers":
            raise EnvironmentFailed("uv venv failed: no network")

    install(monkeypatch.setattr)
    monkeypatch.setattr("flows.orchestration.sweep.build", refused)
    with pytest.raises(EnvironmentFailed, match="environment 'transformers' could not be built: uv venv failed"):
        sweep(plan=str(write_plan(workplace, ["none"])), runs=str(workplace / "runs"))


def test_a_quantization_that_hangs_ends(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    with write_plan(workplace, ["none", "slow"]).open("a") as plan:
        plan.write("time_limits: {quantize_seconds: 1}\n")
    prepared = _prepared(workplace)
    outcome = flows.execute.rows.quantize_row(prepared, prepared.rows[1], QUIET)
    assert isinstance(outcome, Failure)
    assert outcome.kind == "timeout"
    assert "the worker was not done after 1 s (`time_limits: quantize_seconds`)" in outcome.cause
    assert not list((workplace / "cache" / "checkpoints").glob("*/bitfrontier-checkpoint.json"))


def test_a_checkpoint_that_is_not_whole_is_refused(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    write_plan(workplace, ["none"])
    prepared = _prepared(workplace)
    (row,) = prepared.rows
    flows.execute.rows.quantize_row(prepared, row, QUIET)
    assert row.job is not None
    checkpoint = read_checkpoint(row.job.folder)
    weights = row.job.folder / "model.safetensors"
    check_whole(checkpoint)
    weights.write_bytes(bytes(weights.stat().st_size))  # what a crash of the machine may leave
    with pytest.raises(CheckpointError, match="is not a whole safetensors file"):
        check_whole(checkpoint)
    os.truncate(weights, 100)
    with pytest.raises(CheckpointError, match=r"its weights have 100 bytes where \d+ were written"):
        check_whole(checkpoint)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors: was written and is missing"):
        check_whole(checkpoint)


@pytest.mark.usefixtures("prefect")
def test_a_trial_that_cannot_be_written_stops_the_sweep_which_goes_on_later(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the kernel says it of a full disk."""
    install(monkeypatch.setattr)
    file = write_plan(workplace, ["none", "other"])
    _, other = _prepared(workplace).rows
    is_full = True

    def write(path: Path, value: Any, *, compact: bool) -> None:
        if path.name == other.file.name and is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write_json(path, value, compact=compact)

    monkeypatch.setattr(flows.execute.rows, "write_json", write)
    monkeypatch.setattr(sys, "argv", ["bitfrontier", "sweep", str(file), "--runs", str(workplace / "runs")])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    assert ended.value.code == 1
    output = capsys.readouterr().err.replace("\n", "")
    assert re.search(rf"No space left on device: '\S*{other.file.name}'", output)
    assert "Free space on this disk and run the same command again" in output
    (path,) = (workplace / "runs/fake/trials").glob("*.json")
    before = path.stat().st_mtime_ns
    is_full = False
    with pytest.raises(SystemExit) as ended:
        commands.main()
    assert not ended.value.code
    assert [read_trial(row.file).status for row in _prepared(workplace).rows] == ["ok", "unsupported"]
    assert path.stat().st_mtime_ns == before


def test_a_sweep_goes_on_without_prefects_server(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_CLIENT_MAX_RETRIES", "0")
    write_plan(workplace, ["none", "raises"])
    sweep = start_sweep(workplace)
    wait_for(lambda: has_child(sweep, "tests.support.emulator"), sweep, workplace)
    family = psutil.Process(sweep.pid).children(recursive=True)
    (server,) = [process for process in family if process.cmdline()[1:3] == ["-m", "uvicorn"]]
    server.kill()
    wait_for(lambda: sweep.poll() is not None, None, workplace)
    shown = (workplace / "out.log").read_text()
    assert sweep.returncode == 1, shown  # of the method that raises
    assert "was lost" in shown
    assert "the sweep continued without it" in " ".join(shown.split())
    assert "Traceback" not in shown
    statuses = sorted(read_trial(path).status for path in (workplace / "runs/fake/trials").iterdir())
    assert statuses == ["failed", "ok"]
    assert (workplace / "runs/fake/report.html").exists()
    assert not [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def test_a_sweep_that_cannot_go_on_without_prefect_says_so(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lost(*_: object, **__: object) -> None:
        raise PrefectLost("Prefect's server was lost")

    install(monkeypatch.setattr)
    monkeypatch.setattr(sweep_command, "_run", lost)
    monkeypatch.setattr(os, "_exit", sys.exit)
    plan = write_plan(workplace, ["none"])
    with pytest.raises(SystemExit) as ended:
        sweep_command.sweep(plan, runs=workplace / "runs")
    assert ended.value.code == 1
    output = capsys.readouterr().err.replace("\n", " ")
    assert "Prefect's server was lost; finished cells are kept. Run the same command again." in output
