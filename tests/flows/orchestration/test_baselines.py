"""Baselines that fail: what is still measured beside them, and what the next sweep tries again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.schema.trial import Trial
from evals.schema.trial_file import read_trial
from flows.orchestration.sweep import sweep
from tests.support.fake_sweep import install, write_plan

pytestmark = pytest.mark.usefixtures("prefect")


def _sweep(workplace: Path, methods: list[str], more: str = "") -> dict[str, Trial]:
    plan = write_plan(workplace, methods)
    plan.write_text(plan.read_text() + more)
    report = Path(sweep(plan=str(plan), runs=str(workplace / "runs")))
    names = json.loads((report.parent / "sweep.json").read_text())["trials"]
    trials = [read_trial(report.parent / "trials" / name) for name in names]
    return {trial.method: trial for trial in trials}


@pytest.mark.parametrize(("baselines", "status"), [(["no_baseline", "none"], "ok"), (["no_baseline"], "failed")])
def test_a_baseline_that_failed_takes_no_cell_along_where_another_passed(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, baselines: list[str], status: str
) -> None:
    install(monkeypatch.setattr)
    for check_of_the_copy in ("check_declared", "check_made"):  # which is not quantized
        monkeypatch.setattr(f"flows.execute.quantize_checkpoint.{check_of_the_copy}", lambda *_: None)
    trials = _sweep(workplace, [*baselines, "rounded"])
    assert trials["no_baseline"].status == "failed"
    assert trials["rounded"].status == status, trials["rounded"].reason
    assert ("the baseline failed in this engine" in trials["rounded"].reason) == (status == "failed")
    if status == "failed":
        assert trials["rounded"].failure.kind == "failed-baseline"
        assert (
            _sweep(workplace, [*baselines, "none", "rounded"])["rounded"].status == "ok"
        )  # the next sweep tries again


def test_an_adaptive_budget_goes_by_the_first_baseline(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    for check_of_the_copy in ("check_declared", "check_made"):
        monkeypatch.setattr(f"flows.execute.quantize_checkpoint.{check_of_the_copy}", lambda *_: None)
    trials = _sweep(workplace, ["no_baseline", "none", "rounded"], "accuracy: {budget: adaptive}\n")
    assert trials["none"].status == "ok"
    assert trials["rounded"].reason.startswith("the baseline failed in this engine")
