"""`bitfrontier serve RUN [CELL]`: the cell's server as the sweep started it, reached with a key, and stopped cleanly."""

from __future__ import annotations

import os
import shutil
import signal
import stat
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from typer.testing import CliRunner

import flows.cli.__main__  # noqa: F401 (registers the command)
from engines.types import Dialect, Endpoint
from evals.schema.run_file import LinkInRun, NoRun, read_run
from flows import versions
from flows.cli import commands
from flows.cli.serve import command, served_cell
from flows.cli.serve.served_cell import NotServed, ServedCell, asks_for_key, chosen_trial, served
from flows.execute.prepared import Prepared
from flows.plan.schema import Plan
from flows.state.locks import is_held, slot_lock
from flows.state.progress_display import LogDisplay
from flows.state.status import RunChanged
from quant.canonical_json import write_json
from reports.decision.results import conclude
from tests.support.fake_sweep import install, measured, prepared_run
from tests.support.made_trials import ABOUT, failed, trial
from tests.support.planted_code import somebodys_run

ROOT = Path(__file__).resolve().parents[3]
QUIET = LogDisplay(lambda _: None)


def _not_shown(_: Plan) -> None:
    pass


@pytest.fixture
def prepared(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    install(monkeypatch.setattr)
    run = prepared_run(workplace)
    measured(run)
    return run


def test_the_recommended_cell_answers_with_its_key_alone_and_ends_with_the_block(prepared: Prepared) -> None:
    with served(prepared.folder, None, None, _not_shown, QUIET) as running:
        assert running.name == "none float16 · fake"
        assert running.base_url == f"{running.endpoint.url}/v1"
        assert running.endpoint.url.startswith("http://127.0.0.1:")
        assert running.wants_key
        assert running.context_tokens == prepared.sweep.max_model_len
        url, body = f"{running.base_url}/completions", {"model": "served", "prompt": [3, 4], "max_tokens": 2}
        assert httpx.post(url, json=body).status_code == 401
        assert httpx.post(url, json=body, headers=running.endpoint.headers).status_code == 200
        key = running.endpoint.api_key
        assert all(is_held(slot_lock(name)) for name in prepared.sweep.device.slots)  # nothing is measured meanwhile
        processes = running.child.tree()
        assert processes
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)
    with pytest.raises(httpx.ConnectError):
        httpx.get(running.endpoint.url)
    texts = [file.read_text(errors="replace") for file in prepared.folder.rglob("*") if file.is_file()]
    assert not any(key in text for text in texts)


def test_a_longer_context_is_asked_for(prepared: Prepared) -> None:
    with served(prepared.folder, "none float16 · fake", 4096, _not_shown, QUIET) as running:
        assert running.context_tokens == 4096


def test_a_cell_that_is_not_there_is_named(prepared: Prepared) -> None:
    with (
        pytest.raises(NotServed, match=r"no measured cell of it is called 'nune.*did you mean 'none float16 · fake'"),
        served(prepared.folder, "nune float16 · fake", None, _not_shown, QUIET),
    ):
        pass


def test_of_several_models_or_none_a_cell_must_be_named(tmp_path: Path) -> None:
    two = conclude({**ABOUT, "models": ["a", "b"]}, [trial("none", 10, 2.0, 80, model=model) for model in "ab"])
    with pytest.raises(NotServed, match=r"recommends a cell for each of 2 models. Name one: 'a · none · e', 'b · none"):
        chosen_trial(two, tmp_path, None)
    assert chosen_trial(two, tmp_path, "b · none · e").model == "b"
    limits = {**ABOUT["limits"], "memory_gib": 0.001}
    refused = conclude({**ABOUT, "limits": limits}, [trial("none", 10, 2.0, 80), failed("awq", "it broke")])
    with pytest.raises(NotServed, match=r"no measured cell meets the limits. Name a cell: 'none · e'$"):
        chosen_trial(refused, tmp_path, None)
    with pytest.raises(NotServed, match="none was measured"):
        chosen_trial(conclude(ABOUT, [failed("awq", "it broke")]), tmp_path, None)
    begun = conclude({**ABOUT, "trials": ["0.json"]}, [])
    with pytest.raises(
        NotServed, match="run: nothing measured yet: 1 cell to do; continue with `bitfrontier sweep PLAN`"
    ):
        chosen_trial(begun, Path("run"), None)


def test_a_server_that_runs_already_is_not_started(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    attached = replace(trial("none", 10, 2.0, 80), provenance={"attached": "http://127.0.0.1:1"})
    monkeypatch.setattr(served_cell, "chosen_trial", lambda *_: attached)
    with (
        pytest.raises(NotServed, match=r"was measured at an attached server: http://127.0.0.1:1"),
        served(prepared.folder, None, None, _not_shown, QUIET),
    ):
        pass


def test_a_cell_that_would_be_served_otherwise_is_refused(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "MEASUREMENT_VERSION", versions.MEASUREMENT_VERSION + 1)
    with (
        pytest.raises(RunChanged, match=r"would not be served as measured.*`bitfrontier sweep"),
        served(prepared.folder, None, None, _not_shown, QUIET),
    ):
        pass


def test_a_run_whose_plan_is_not_here_says_where_to_start(prepared: Prepared) -> None:
    about = read_run(prepared.folder)
    write_json(prepared.folder / "sweep.json", {**about, "file": "gone.yaml"})
    with (
        pytest.raises(
            NoRun, match=r"its plan gone\.yaml is not in .*Start this where `bitfrontier sweep .*` was started"
        ),
        served(prepared.folder, None, None, _not_shown, QUIET),
    ):
        pass


def test_of_somebodys_run_nothing_is_started(prepared: Prepared) -> None:
    """It brings its plan and an interpreter along."""
    theirs, python, marker = somebodys_run(prepared.folder)
    with (
        pytest.raises(RunChanged, match=rf"theirs was not started here .*\nnot ours: interpreter {python}"),
        served(theirs, None, None, _not_shown, QUIET),
    ):
        pass
    assert not marker.exists()


def test_a_run_with_links_is_refused(prepared: Prepared, tmp_path: Path) -> None:
    (prepared.folder / "logs" / "x.log").symlink_to(tmp_path / "mine")
    with pytest.raises(LinkInRun, match="is a symbolic link"), served(prepared.folder, None, None, _not_shown, QUIET):
        pass


def test_a_checkpoint_that_is_gone_is_made_again(prepared: Prepared) -> None:
    (checkpoint,) = (path for path in (prepared.folder.parents[1] / "cache" / "checkpoints").iterdir() if path.is_dir())
    shutil.rmtree(checkpoint)
    with served(prepared.folder, None, None, _not_shown, QUIET) as running:
        assert running.child.returncode is None
    assert checkpoint.is_dir()


@pytest.mark.parametrize(("status", "asks"), [(401, True), (403, True), (400, False), (200, False)])
def test_a_server_without_keys_is_known(monkeypatch: pytest.MonkeyPatch, status: int, asks: bool) -> None:
    endpoint = _running().endpoint
    monkeypatch.setattr(served_cell, "request", lambda *_, **__: httpx.Response(status))
    assert asks_for_key(endpoint) == asks
    assert asks_for_key(replace(endpoint, dialect=replace(endpoint.dialect, key_field="key")))


def test_a_server_that_answers_no_stranger_is_taken_to_ask_for_a_key() -> None:
    assert asks_for_key(_running().endpoint)  # nobody listens there


class _Ended:
    """A server that has ended."""

    returncode = 1
    ending = "exit code 1"


def _running(url: str = "http://127.0.0.1:1", *, wants_key: bool = True) -> ServedCell:
    dialect = Dialect(prompt_logprobs="none", chunk_tokens="one", metrics=None)
    endpoint = Endpoint(url, "a-secret-key", None, Path("run/logs/a.log"), dialect, 0.0, {})
    return ServedCell("none · e", endpoint, _Ended(), 512, wants_key)  # type: ignore[arg-type]


@pytest.mark.parametrize("wants_key", [True, False])
def test_it_is_said_how_it_is_reached_and_the_key_is_in_a_file_of_this_user_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, wants_key: bool
) -> None:
    seen: list[tuple[list[str], str]] = []

    @contextmanager
    def fake(*_: Any) -> Any:
        yield _running(wants_key=wants_key)

    def say_how(running: Any, key_file: Path) -> None:
        printed(running, key_file)
        modes = [oct(stat.S_IMODE(path.stat().st_mode)) for path in (key_file.parent, key_file) if path.exists()]
        seen.append((modes, key_file.read_text() if key_file.exists() else ""))

    printed = command.say_how
    monkeypatch.setattr(served_cell, "served", fake)
    monkeypatch.setattr(command, "say_how", say_how)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    result = CliRunner().invoke(commands.app, ["serve", "run"])
    assert result.exit_code == 1  # it has ended by itself
    assert seen == [(["0o700", "0o600"], "a-secret-key") if wants_key else (["0o700"], "")]
    shown = capsys.readouterr().out + result.output
    assert "a-secret-key" not in shown
    assert list(tmp_path.iterdir()) == []  # the key is gone with the server


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whoever_ends_it_or_closes_its_terminal_ends_the_file_with_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: signal.Signals
) -> None:
    @contextmanager
    def fake(*_: Any) -> Any:
        yield _running()

    def say_how(running: Any, key_file: Path) -> None:
        key_file.write_text("a-secret-key")
        os.kill(os.getpid(), ending)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr(served_cell, "served", fake)
    monkeypatch.setattr(command, "say_how", say_how)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    try:
        result = CliRunner().invoke(commands.app, ["serve", "run"])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert (result.exit_code, list(tmp_path.iterdir())) == (0, [])
    assert "stopped" in result.output
