"""One model that cannot be used takes no other along: it has rows with the reason, and the others have their report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import flows.sources.models
from engines.runtime.process import ProcessFailed
from evals.schema.trial import Trial
from evals.schema.trial_file import read_trial
from tests.support.checkpoints import write_tiny_model
from tests.support.fake_sweep import install, reference, write_plan

pytestmark = pytest.mark.usefixtures("prefect")


def _sweep(workplace: Path) -> dict[str, Trial]:
    """Of the models `tiny` and `other`."""
    from flows.orchestration.sweep import sweep

    config = write_tiny_model(workplace / "other") / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "name": "other"}))  # models are known by contents
    plan = write_plan(workplace, ["none"])
    plan.write_text(yaml.safe_dump({**yaml.safe_load(plan.read_text()), "models": ["tiny", "other"]}))
    report = Path(sweep(plan=str(plan), runs=str(workplace / "runs")))
    assert report.exists()
    names = json.loads((report.parent / "sweep.json").read_text())["trials"]
    trials = [read_trial(report.parent / "trials" / name) for name in names]
    return {trial.model: trial for trial in trials}


def test_the_other_model_has_its_report(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    config = workplace / "tiny" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "architectures": ["BertForMaskedLM"]}))
    trials = _sweep(workplace)
    assert {name: trial.status for name, trial in trials.items()} == {"tiny": "unsupported", "other": "ok"}
    assert trials["tiny"].reason.startswith("BertForMaskedLM has no language-model head")


def test_a_reference_that_fails_is_that_models_row(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(name: str, *_: Any, **__: Any) -> dict[str, Any]:
        if name == "tiny":
            (workplace / "log").write_text("KeyError: 'weird'")
            raise ProcessFailed("-m quant.reference_outputs failed with exit code 1", workplace / "log")
        return reference()

    install(monkeypatch.setattr)
    monkeypatch.setattr(flows.sources.models, "reference_outputs", refused)
    trials = _sweep(workplace)
    assert {name: trial.status for name, trial in trials.items()} == {"tiny": "failed", "other": "ok"}
    assert "tiny has no reference of plain Transformers: -m quant.reference_outputs failed" in trials["tiny"].reason
    assert "KeyError: 'weird'" in trials["tiny"].reason
