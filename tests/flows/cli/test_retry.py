"""`bitfrontier retry RUN --failed`: only what failed is measured again."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest

from evals.schema.race_file import RACE_FILE, Left, RaceState, Rules, write_race
from evals.schema.trial_file import read_trial
from flows import versions
from flows.cli.retry import check_unchanged, drop_failed
from flows.plan.changes import UNCHANGED
from flows.plan.schema import Plan
from flows.state.cache_gc import register
from flows.state.status import RunChanged, cell_states
from quant.canonical_json import write_json
from tests.support.fake_sweep import install, write_plan
from tests.support.planted_code import somebodys_run

pytestmark = pytest.mark.usefixtures("prefect")


@pytest.fixture
def run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from flows.orchestration.sweep import sweep

    install(monkeypatch.setattr)
    return Path(sweep(plan=str(write_plan(workplace, ["none", "raises"])), runs=str(workplace / "runs"))).parent


def _not_shown(plan: Plan) -> None:
    pass


def test_only_failed_cells_are_forgotten(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in (run / "trials").glob("*.json") if read_trial(path).status == "ok"
    }
    assert {cell.state for cell in cell_states(run)} == {"ok", "failed"}
    drop_failed(run)
    begun = check_unchanged(run, _not_shown)
    assert (begun.file, begun.data_root, begun.changes) == (run.parent.parent / "plan.yaml", None, UNCHANGED)
    assert [cell.state for cell in cell_states(run)] == ["ok", "to do"]
    assert {path: path.stat().st_mtime_ns for path in (run / "trials").glob("*.json")} == before
    about = json.loads((run / "sweep.json").read_text())
    write_json(run / "sweep.json", {**about, "changes": {"sets": [], "only": ["none*"], "exclude": []}})
    with pytest.raises(RunChanged, match=r"1 of 2 cells of .* are no longer in its plan\. `bitfrontier"):
        check_unchanged(run, _not_shown)
    write_json(run / "sweep.json", about)
    monkeypatch.setattr(versions, "MEASUREMENT_VERSION", versions.MEASUREMENT_VERSION + 1)
    with pytest.raises(RunChanged, match=r"2 of 2 cells would be measured again.*`bitfrontier sweep .*plan.yaml` does"):
        check_unchanged(run, _not_shown)
    plan = run.parent.parent / "plan.yaml"
    plan.write_text(plan.read_text() + "seed: 1\n")
    with pytest.raises(
        RunChanged, match=r"plan.yaml was changed since .*; `bitfrontier sweep .*` measures what is new"
    ):
        check_unchanged(run, _not_shown)


def test_of_somebodys_run_nothing_is_started(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It brings its plan, an interpreter and what to type along."""
    theirs, python, marker = somebodys_run(run)
    with pytest.raises(
        RunChanged, match=rf"theirs was not started here .*\nnot ours: interpreter {python} .*\n.*`bitfrontier sweep "
    ) as refused:
        check_unchanged(theirs, _not_shown)
    assert "rm -rf" not in str(refused.value)
    assert not marker.exists()
    register(theirs, (theirs / "plan.yaml").read_text())  # as a sweep of it does
    with pytest.raises(RunChanged, match="would be measured again"):
        check_unchanged(theirs, _not_shown)
    assert marker.exists()


@pytest.mark.parametrize(
    ("error", "stays"), [(OSError(errno.EIO, "of the disk"), True), (ValueError("damaged"), False)]
)
def test_a_trial_that_the_disk_does_not_give_now_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, stays: bool
) -> None:
    file = tmp_path / "trials" / "cell.json"
    file.parent.mkdir()
    file.write_text("{}")

    def read(path: Path, most_bytes: int) -> bytes:
        raise error

    monkeypatch.setattr("evals.schema.trial_file.read_regular", read)
    drop_failed(tmp_path)
    assert file.exists() == stays


def test_a_race_in_which_a_visit_failed_goes_on(run: Path) -> None:
    left = Left("k", "rtn · e", "m", 3, "its visit failed: no", failed=True)
    for cells, stays in (((replace(left, failed=False),), True), ((left,), False)):
        write_race(run, RaceState(Rules(6, 0.03, 0.05), 3, cells, "winner"))
        drop_failed(run)
        assert (run / RACE_FILE).exists() == stays
