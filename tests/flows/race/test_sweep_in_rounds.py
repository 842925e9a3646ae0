"""A race over a fake engine: visits in rounds, what of them is kept, and what a second run does."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from evals.schema.part import PARTS
from evals.schema.race_file import read_race
from evals.schema.trial import Trial
from evals.schema.trial_file import read_trial
from flows.execute import visits
from flows.execute.prepare import environments_of, prepare_sweep
from flows.execute.prepared import Prepared
from flows.execute.rows import assemble_finished
from flows.plan.source import load_plan
from flows.race.contenders import race_is_over, spent_seconds
from flows.state.progress_display import LogDisplay
from flows.validate.plan import check
from tests.support.fake_sweep import install, written
from tests.support.worker_races import ignore_disturbance, write_race_plan

pytestmark = pytest.mark.usefixtures("prefect")


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    ignore_disturbance(monkeypatch)


def _plan(workplace: Path, **race: Any) -> Path:
    return write_race_plan(workplace, methods=("none", "other"), **race)


def _sweep(workplace: Path, file: Path) -> Trial:
    from flows.orchestration.sweep import sweep

    sweep(plan=str(file), runs=str(workplace / "runs"))
    (trial,) = [
        trial
        for name in json.loads((workplace / "runs" / "fake" / "sweep.json").read_text())["trials"]
        if (trial := read_trial(workplace / "runs" / "fake" / "trials" / name)).status == "ok"
    ]
    return trial


def _prepared(workplace: Path, file: Path) -> Prepared:
    checked = check(load_plan(file))
    return prepare_sweep(checked, environments_of(checked), workplace / "runs", LogDisplay(lambda _: None))


def test_later_rounds_are_visits_of_their_own(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    trial = _sweep(workplace, _plan(workplace))
    (speed,) = trial.speed
    assert speed.rounds == (1, 2, 3)
    assert len(set(speed.repeats)) == 3
    visits = trial.provenance["visits"]
    assert [visit["round"] for visit in visits] == [2, 3]
    for visit in visits:
        assert visit["startup_seconds"] > 0
        assert visit["started"].endswith("Z")
        assert 1 <= visit["attempts"] <= 3
        assert {"foreign", "steal", "pressure", "load_average"} <= visit["others"].keys()
        assert visit["sentinel"]["hashed"] > 0
    race = json.loads((workplace / "runs" / "fake" / "race.json").read_text())
    assert race["number"] == 3
    assert race["ended"] == "winner"  # the only one
    assert sorted(race["orders"][0]) == ["none float16 · fake", "none float16 · fake, control"]
    control = read_trial(workplace / "runs" / "fake" / "trials" / race["control"])
    assert control.speed[0].rounds == (2, 3)
    assert control.speed[0].repeats != speed.repeats[1:]
    assert trial.memory is not None
    assert [number for number, peak in trial.memory.later_peaks if peak > 0] == [2, 3]


def test_the_minutes_of_a_race_are_those_of_the_control_too(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    file = _plan(workplace)
    trial = _sweep(workplace, file)
    state = read_race(workplace / "runs" / "fake")
    assert state is not None
    control = read_trial(workplace / "runs" / "fake" / "trials" / (state.control or ""))
    visits = [*trial.provenance["visits"], *control.provenance["visits"]]
    assert sorted(visit["round"] for visit in visits) == [2, 2, 3, 3]
    took = sum(visit["all_attempts_seconds"] for visit in visits)
    assert took > sum(visit["startup_seconds"] + visit["seconds"] for visit in visits)
    assert spent_seconds(_prepared(workplace, file), state) == pytest.approx(took)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_visit_that_cannot_be_kept_ends_the_sweep_and_no_cell_leaves_for_it(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    install(monkeypatch.setattr)
    file = _plan(workplace)

    def refused(*_: Any) -> None:
        raise OSError(number, os.strerror(number), "parts/x.json")

    with monkeypatch.context() as full:
        full.setattr(visits, "save_part", refused)
        with pytest.raises(OSError, match=rf"\[Errno {number}\] .*: 'parts/x.json'"):
            _sweep(workplace, file)
    assert _sweep(workplace, file).speed[0].rounds == (1, 2, 3)
    race = read_race(workplace / "runs" / "fake")
    assert race is not None
    assert not race.left


def test_a_full_disk_of_ours_during_a_visit_is_no_failure_of_its_cell(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "logs/x.log")

    monkeypatch.setattr(visits, "_attempt", full)
    with pytest.raises(OSError, match=r"No space left on device: 'logs/x.log'"):
        _sweep(workplace, _plan(workplace))


def test_a_second_run_repeats_no_visit(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    file = _plan(workplace)
    _sweep(workplace, file)
    before = written(workplace)
    gone = next(
        part
        for part in sorted((workplace / "runs" / "fake" / "parts").glob("*.json"))
        if PARTS.validate_json(part.read_bytes()).name.endswith("round 3")
    )
    gone.unlink()
    _sweep(workplace, file)
    after = written(workplace)
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == [gone.name]
    assert _sweep(workplace, file).speed[0].rounds == (1, 2, 3)
    assert written(workplace) == after


def test_a_plan_that_asks_for_less_decides_anew_from_the_finished_visits(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one load the cells have other keys: what had ended was the race of others."""
    install(monkeypatch.setattr)
    file = _plan(workplace)
    plan = yaml.safe_load(file.read_text())
    more = {"concurrency": 2, "requests": 4, "prompt_tokens": 4, "output_tokens": 4}
    file.write_text(yaml.safe_dump(plan | {"load": [*plan["load"], more]}))
    _sweep(workplace, file)
    file.write_text(yaml.safe_dump(plan))
    prepared = _prepared(workplace, file)
    assemble_finished(prepared)
    assert not race_is_over(prepared)
    parts = written(workplace)
    assert _sweep(workplace, file).speed[0].rounds == (1, 2, 3)
    assert race_is_over(_prepared(workplace, file))
    assert written(workplace) == parts


def test_a_plan_without_a_race_any_more_shows_none(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    file = _plan(workplace)
    _sweep(workplace, file)
    plan = {name: value for name, value in yaml.safe_load(file.read_text()).items() if name != "race"}
    file.write_text(yaml.safe_dump(plan | {"repeats": 2}))
    assert not race_is_over(_prepared(workplace, file))
    _sweep(workplace, file)
    assert not (workplace / "runs" / "fake" / "race.json").exists()
    assert race_is_over(_prepared(workplace, file))
