"""A model's reference is computed once, and so is one that fails."""

from __future__ import annotations

import errno
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import flows.sources.models
import flows.sources.references
from engines.runtime.environments import resolve
from engines.runtime.process import ProcessFailed
from flows.cli.retry import drop_failed
from flows.cli.sweep_command import already_done, known_run
from flows.execute.prepare import environments_of, prepare_sweep
from flows.plan.source import load_plan
from flows.sources.model_facts import look_up_model
from flows.sources.models import Model, prepare_model
from flows.sources.references import reference_outputs
from flows.state.cache_gc import register
from flows.state.progress_display import LogDisplay
from flows.validate.plan import check
from quant.errors import FailureKind
from tests.support.fake_sweep import install, prepared_run, write_plan


@pytest.fixture
def asked(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Models whose reference was computed, which fails."""
    names: list[str] = []

    def fails(environment: Any, arguments: list[str], log: Path) -> None:
        names.append(Path(arguments[-2]).name)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("KeyError: 'weird'")
        raise ProcessFailed("-m quant.reference_outputs failed with exit code 1", log)

    monkeypatch.setattr(flows.sources.references, "run_in", fails)
    return names


def _prepared(workplace: Path) -> Model:
    environment = resolve("transformers", {"python": sys.executable})
    return prepare_model(look_up_model("tiny", workplace), environment)


def test_a_reference_that_failed_is_not_tried_again_but_by_retry(workplace: Path, asked: list[str]) -> None:
    first, second = _prepared(workplace), _prepared(workplace)
    assert asked == ["tiny"]
    assert first.failure is not None
    assert second.failure == first.failure
    assert "-m quant.reference_outputs failed with exit code 1: KeyError: 'weird'" in first.failure.cause
    drop_failed(workplace / "runs")
    assert _prepared(workplace).failure == first.failure
    assert asked == ["tiny", "tiny"]


@pytest.mark.parametrize("kind", ["out-of-memory", "full-disk"])
def test_a_failure_that_may_pass_is_tried_again(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, kind: FailureKind
) -> None:
    asked: list[str] = []

    def fails(*_: Any) -> None:
        asked.append("tiny")
        raise ProcessFailed("ended by the kernel", kind=kind)

    monkeypatch.setattr(flows.sources.references, "run_in", fails)
    for _ in range(2):
        assert _prepared(workplace).failure is not None
    assert len(asked) == 2


def test_a_failure_in_another_environment_says_nothing_of_this(
    workplace: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _prepared(workplace)
    environment = resolve("transformers", {"python": sys.executable})
    prepare_model(look_up_model("tiny", workplace), replace(environment, identity="packages of another day"))
    assert asked == ["tiny", "tiny"]


def test_a_full_disk_hides_no_failure(workplace: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(flows.sources.references, "write_json", full)
    model = _prepared(workplace)
    assert model.failure is not None
    assert "KeyError: 'weird'" in model.failure.cause


def test_to_look_at_a_run_computes_no_reference(
    workplace: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)
    folder, file = prepared_run(workplace).folder, write_plan(workplace, ["none"])
    register(folder, file.read_text())
    monkeypatch.setattr(flows.sources.models, "reference_outputs", reference_outputs)
    sweep, runs = check(load_plan(file)), workplace / "runs"
    assert known_run(sweep, runs) is not None
    assert already_done(sweep, runs) is None
    assert asked == []
    quiet = LogDisplay(lambda _: None)
    for _ in range(2):  # the sweep, and each process that measures
        (model,) = prepare_sweep(sweep, environments_of(sweep), runs, quiet).models.values()
        assert model.failure is not None
    assert asked == ["tiny"]
