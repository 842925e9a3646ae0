from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import flows.execute.manifest
from flows.execute.manifest import commit, describe
from tests.support.fake_sweep import install, prepared_run


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Path]:
    """A repository of somebody else with one commit."""
    ours = ["-c", "user.name=n", "-c", "user.email=e", "commit", "--quiet", "--allow-empty", "--message", "first"]
    for arguments in (["init", "--quiet"], ours):
        subprocess.run(["git", "-C", tmp_path, *arguments], check=True)
    commit.cache_clear()
    yield tmp_path
    commit.cache_clear()


def test_a_checkout_has_a_commit(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.execute.manifest, "ROOT", repository)
    assert len(commit()) == 12


def test_an_installation_within_a_repository_has_none(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.execute.manifest, "ROOT", repository / ".venv" / "site-packages")
    assert commit() == ""


def test_a_run_keeps_the_forecast_that_it_began_with(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    prepared = prepared_run(workplace)
    file = prepared.folder / "sweep.json"
    about = json.loads(file.read_text())
    assert list(about["forecast"]["cells"]) == about["trials"]
    assert about["forecast"]["seconds"] > 0
    about["forecast"]["seconds"] = 12345.0
    file.write_text(json.dumps(about))
    describe(prepared)
    assert json.loads(file.read_text())["forecast"]["seconds"] == 12345.0
    file.write_text(json.dumps({**about, "trials": ["another.json"], "forecast": {"cells": {"another.json": {}}}}))
    describe(prepared)
    assert json.loads(file.read_text())["forecast"]["seconds"] < 12345.0
