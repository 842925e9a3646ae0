"""`kill -9` of the sweep while it quantizes and while it measures: no orphan, and the next start goes on."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import psutil
import yaml

from evals.schema.trial_file import read_trial
from tests.support.fake_sweep import write_plan
from tests.support.sweep_process import alive, has_child, kill, start_sweep, wait_for


def test_kill_9_leaves_no_orphan_and_loses_nothing(workplace: Path) -> None:
    write_plan(workplace, ["none", "slow"])
    sweep = start_sweep(workplace)
    wait_for(lambda: list((workplace / "cache/checkpoints").glob("*.partial/weights/half*")), sweep, workplace)
    kill(sweep, workplace)
    (finished,) = (workplace / "cache/checkpoints").glob("*/bitfrontier-checkpoint.json")
    before = finished.stat().st_mtime_ns

    write_plan(workplace, ["none", "other"])
    sweep = start_sweep(workplace)
    wait_for(lambda: has_child(sweep, "tests.support.emulator"), sweep, workplace)
    kill(sweep, workplace)
    assert finished.stat().st_mtime_ns == before

    sweep = start_sweep(workplace)
    wait_for(lambda: sweep.poll() is not None, None, workplace)
    assert sweep.returncode == 0, (workplace / "out.log").read_text()[-3000:]
    assert [*(workplace / "cache/checkpoints").glob("*/bitfrontier-checkpoint.json")] == [finished]
    assert finished.stat().st_mtime_ns == before
    statuses = sorted(read_trial(p).status for p in (workplace / "runs/fake/trials").iterdir())
    assert statuses == ["ok", "unsupported"]


def test_a_race_that_was_killed_goes_on_and_makes_no_visit_twice(workplace: Path) -> None:
    file = write_plan(workplace, ["none"])
    plan = {**yaml.safe_load(file.read_text()), "race": {"rounds": 3, "control": False}}
    file.write_text(yaml.safe_dump(plan))
    parts = workplace / "runs/fake/parts"

    def visits() -> dict[str, int]:
        names = {path: json.loads(path.read_bytes())["name"] for path in parts.glob("*.json")}
        return {path.name: path.stat().st_mtime_ns for path, name in names.items() if "round" in name}

    sweep = start_sweep(workplace)
    wait_for(lambda: len(visits()) == 1 and has_child(sweep, "tests.support.emulator"), sweep, workplace)
    kill(sweep, workplace)
    before = visits()
    assert len(before) == 1
    again = start_sweep(workplace)
    wait_for(lambda: again.poll() is not None, None, workplace)
    assert again.returncode == 0, (workplace / "out.log").read_text()[-3000:]
    after = visits()
    assert len(after) == 2
    assert {name: after[name] for name in before} == before
    (trial,) = [read_trial(path) for path in (workplace / "runs/fake/trials").glob("*.json")]
    assert trial.speed[0].rounds == (1, 1, 2, 2, 3, 3)
    assert len(set(trial.speed[0].repeats)) == 6


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(workplace: Path) -> None:
    write_plan(workplace, ["none", "slow"])
    sweep = start_sweep(workplace)
    wait_for(lambda: list((workplace / "cache/checkpoints").glob("*.partial/weights/half*")), sweep, workplace)
    tree = psutil.Process(sweep.pid).children(recursive=True)
    os.kill(sweep.pid, signal.SIGINT)
    wait_for(lambda: sweep.poll() is not None, None, workplace)
    assert sweep.returncode == 130
    assert not alive(tree)
    assert "Run the same command again" in (workplace / "out.log").read_text()
