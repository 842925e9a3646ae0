"""What is not ours is shown before anything of it is started, whichever command starts it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml
from typer.testing import CliRunner

from engines.registry import engines_by_name
from engines.runtime.identities import interpreter_identity
from flows.cli import commands, plan_command, sweep_command
from flows.cli.output import SafeConsole
from flows.cli.quantize_command import quantize_one
from flows.distributed import worker_tasks
from flows.orchestration import sweep as flow_of_sweeps
from flows.plan.source import load_plan
from flows.state.cache_gc import register
from flows.state.progress_display import LogDisplay
from flows.validate.plan import check
from tests.support.fake_sweep import install, prepared_run, write_plan


class Planted:
    """A plan with an interpreter that, when it is first started, notes what was shown until then."""

    def __init__(self, folder: Path) -> None:
        self.python, self.shown, self.noted = folder / "planted-python", folder / "shown", folder / "noted"
        self.python.write_text(
            f'#!/bin/sh\n[ -e {self.noted} ] || cp {self.shown} {self.noted}\nexec {sys.executable} "$@"\n'
        )
        self.python.chmod(0o755)
        self.plan, self.runs = write_plan(folder, ["none"]), folder / "runs"
        self.environments = {name: {"python": str(self.python)} for name in ("transformers", "llmcompressor")}
        given = yaml.safe_load(self.plan.read_text())
        self.plan.write_text(yaml.safe_dump({**given, "environments": self.environments}))
        self.forget()

    def forget(self) -> None:
        interpreter_identity.cache_clear()
        self.noted.unlink(missing_ok=True)
        self.shown.write_text("")

    def say(self, text: str) -> None:
        with self.shown.open("a") as file:
            file.write(f"{text}\n")

    def listed_first(self) -> bool:
        return f"not ours: interpreter {self.python}" in self.noted.read_text()


@pytest.fixture
def planted(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Planted]:
    install(monkeypatch.setattr)
    made = Planted(workplace)
    with made.shown.open("a") as file:
        console = SafeConsole(file=file, width=300)
        for place in ("commands.console", "commands.errors", "sweep_command.console", "sweep_command.errors"):
            monkeypatch.setattr(f"flows.cli.{place}", console)
        monkeypatch.setattr(plan_command, "console", console)
        yield made


class Ended(Exception):
    """What would follow is of no interest."""


def _end(*_: Any, **__: Any) -> NoReturn:
    raise Ended


@pytest.mark.parametrize("as_json", [False, True])
def test_before_a_sweep_looks_whether_it_is_done(
    planted: Planted, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    monkeypatch.setattr(sweep_command, "_run", _end)
    request = sweep_command.SweepRequest(planted.plan, None, planted.runs)
    with pytest.raises(Ended):
        sweep_command.run_whole(request, sweep_command.Shown(as_json=as_json), retry_failed=False)
    assert planted.listed_first()


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_before_plan_asks_for_the_keys_of_a_sweep_that_was_begun(planted: Planted, options: list[str]) -> None:
    command = ["plan", str(planted.plan), "--runs", str(planted.runs), *options]
    assert CliRunner().invoke(commands.app, command).exit_code == 0
    assert not planted.noted.exists()
    planted.forget()
    register(planted.runs / "fake", planted.plan.read_text())
    assert CliRunner().invoke(commands.app, command).exit_code == 0
    assert planted.listed_first()


def test_before_retry_compares_and_only_once(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared_run(planted.plan.parent, environments=planted.environments)
    planted.forget()
    monkeypatch.setattr(sweep_command, "_run", _end)
    result = CliRunner().invoke(commands.app, ["retry", str(planted.runs / "fake"), "--failed"])
    assert isinstance(result.exception, Ended)
    assert planted.listed_first()
    assert planted.shown.read_text().count("in place of the environment transformers") == 1


def _quantize(planted: Planted) -> None:
    quantize_one(planted.plan, "none float16", None, LogDisplay(planted.say))


def _work(planted: Planted) -> None:
    worker_tasks.find(check(load_plan(planted.plan)), "trials/x", LogDisplay(planted.say))


def _flow(planted: Planted) -> None:
    flow_of_sweeps.run_plan(planted.plan, None, planted.runs)


@pytest.mark.parametrize("start", [_quantize, _work, _flow])
def test_before_others_resolve_environments(
    planted: Planted, monkeypatch: pytest.MonkeyPatch, start: Callable[[Planted], None]
) -> None:
    monkeypatch.setattr("flows.cli.quantize_command.build", _end)
    monkeypatch.setattr(worker_tasks, "build", _end)
    monkeypatch.setattr(flow_of_sweeps, "shown", lambda: LogDisplay(planted.say))
    monkeypatch.setattr(flow_of_sweeps, "build_all", _end)
    with pytest.raises(Ended):
        start(planted)
    assert planted.listed_first()


def test_a_program_on_the_path_is_found_and_not_started(
    planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its version is asked for when a sweep begins, not when a plan is looked at."""
    programs = tmp_path / "programs"
    programs.mkdir()
    planted.python.rename(programs / "ollama")
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setattr("flows.validate.engines.engines_by_name", engines_by_name)
    given = yaml.safe_load(planted.plan.read_text())
    given |= {"engines": [{"engine": "ollama"}], "environments": {}}
    planted.plan.write_text(yaml.safe_dump(given))
    result = CliRunner().invoke(commands.app, ["plan", str(planted.plan), "--runs", str(planted.runs)])
    assert result.exit_code in (0, 2), result.output  # the fake method makes nothing that it loads
    assert not planted.noted.exists()
