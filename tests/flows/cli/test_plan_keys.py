"""The keys that `bitfrontier plan` prints: those of the sweep, and none where nobody knows them yet."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from flows.cli.commands import app
from flows.state.cache_gc import register
from tests.support.fake_sweep import install, prepared_run, write_plan
from tests.support.planted_code import planted_interpreter


@pytest.fixture(autouse=True)
def _no_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-v` would change the loggers of this process for all tests after it."""
    monkeypatch.setattr("flows.state.run_log.log_to_console", lambda _: None)


def _plan(workplace: Path, *arguments: str) -> str:
    command = ["plan", str(workplace / "plan.yaml"), "--runs", str(workplace / "runs")]
    shown = CliRunner().invoke(app, [*arguments, *command] if "-v" in arguments else [*command, *arguments])
    assert shown.exit_code == 0, shown.output
    return shown.stdout


def test_the_keys_of_a_cell_and_its_parts_are_those_of_the_sweep(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)
    (row,) = prepared_run(workplace).rows
    (cell,) = json.loads(_plan(workplace, "--json"))["cells"]
    assert (cell["key"], cell["parts"]) == (row.key, {part.name: part.key for part in row.parts})
    assert row.key[:12] in _plan(workplace, "-v")
    assert row.key[:12] not in _plan(workplace)


def test_a_worker_s_keys_are_those_of_its_own_run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may never have measured anything: that its keys differ is why they are looked at."""
    install(monkeypatch.setattr)
    (row,) = prepared_run(workplace).rows
    shutil.move(workplace / "runs", workplace / "cache" / "cells")
    register(workplace / "cache" / "cells" / "fake", (workplace / "plan.yaml").read_text())
    assert json.loads(_plan(workplace, "--json"))["cells"][0]["key"] == row.key


def test_keys_are_unknown_before_anything_was_fetched(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    write_plan(workplace, ["none"])
    (cell,) = json.loads(_plan(workplace, "--json"))["cells"]
    assert (cell["key"], cell["parts"]) == (None, None)
    assert "unknown" in _plan(workplace, "-v")


def test_what_is_not_ours_comes_first_and_is_not_started(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run came from somebody else, with an interpreter of his beside it."""
    install(monkeypatch.setattr)
    prepared_run(workplace)
    python, marker = planted_interpreter(workplace)
    file = workplace / "plan.yaml"
    plan = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**plan, "environments": {"transformers": {"python": str(python)}}}))
    first = _plan(workplace).splitlines()[0]
    assert first.startswith(f"not ours: interpreter {python} (in place of the environment transformers); gets ")
    assert "PATH" in first
    (listed,) = json.loads(_plan(workplace, "--json"))["not_ours"]
    assert (listed["kind"], listed["name"]) == ("interpreter", str(python))
    assert not marker.exists()
