"""One checkpoint of a plan by its label."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli import commands
from flows.cli.quantize_command import UnknownCheckpoint, quantize_one
from flows.state.cache_gc import known_runs, unneeded
from flows.state.kept_checkpoints import list_kept
from flows.state.progress_display import LogDisplay
from quant.types import CHECKPOINT_RECORD
from tests.support.fake_sweep import install, write_plan


@pytest.fixture
def plan(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(monkeypatch.setattr)
    return write_plan(workplace, ["none", "raises"])


def test_it_is_made_once_and_then_found(plan: Path) -> None:
    display = LogDisplay(lambda text: None)
    (first,) = quantize_one(plan, "none float16", None, display)
    record = Path(first.folder) / CHECKPOINT_RECORD
    written = record.stat().st_mtime_ns
    (again,) = quantize_one(plan, "none float16", None, display)
    assert again == first
    assert [checkpoint.path for checkpoint in list_kept()] == [f"checkpoints/{Path(first.folder).name}"]
    assert not [entry for entry in unneeded(known_runs()) if entry.path == Path(first.folder)]
    assert record.stat().st_mtime_ns == written


def test_a_label_that_is_not_there_is_refused_with_those_that_are(plan: Path) -> None:
    with pytest.raises(UnknownCheckpoint, match=r"plan\.yaml: no method of it is labelled 'nune'; .*none float16"):
        quantize_one(plan, "nune", None, LogDisplay(lambda text: None))


def test_the_command_prints_its_folder(plan: Path) -> None:
    result = CliRunner().invoke(commands.app, ["quantize", str(plan), "none float16", "--json"])
    assert result.exit_code == 0, result.output
    (checkpoint,) = json.loads(result.stdout)
    assert (Path(checkpoint["folder"]) / "model.safetensors").exists()
