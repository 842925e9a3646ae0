"""`bitfrontier retry RUN --failed`: only what failed is measured again."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.schema.trial_file import read_trial
from flows import versions
from flows.cli.retry import check_unchanged, drop_failed
from flows.state.status import RunChanged, cell_states
from tests.support.fake_sweep import install, write_plan

pytestmark = pytest.mark.usefixtures("prefect")


@pytest.fixture
def run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from flows.orchestration.sweep import sweep

    install(monkeypatch.setattr)
    return Path(sweep(plan=str(write_plan(workplace, ["none", "raises"])), runs=str(workplace / "runs"))).parent


def test_only_failed_cells_are_forgotten(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in (run / "trials").glob("*.json") if read_trial(path).status == "ok"
    }
    assert {cell.state for cell in cell_states(run)} == {"ok", "failed"}
    drop_failed(run)
    assert check_unchanged(run) == (run.parent.parent / "plan.yaml", None)
    assert [cell.state for cell in cell_states(run)] == ["ok", "to do"]
    assert {path: path.stat().st_mtime_ns for path in (run / "trials").glob("*.json")} == before
    monkeypatch.setattr(versions, "MEASUREMENT_VERSION", versions.MEASUREMENT_VERSION + 1)
    with pytest.raises(RunChanged, match=r"2 of 2 cells would be measured anew.*`bitfrontier sweep .*plan.yaml` does"):
        check_unchanged(run)
    plan = run.parent.parent / "plan.yaml"
    plan.write_text(plan.read_text() + "seed: 1\n")
    with pytest.raises(
        RunChanged, match=r"plan.yaml was changed since .*; `bitfrontier sweep .*` measures what is new"
    ):
        check_unchanged(run)
