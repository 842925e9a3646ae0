"""Races of two cells and a control over a fake engine, on workers of this process."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from engines.telemetry import disturbance
from evals.schema.race_file import RaceState, read_race
from evals.schema.trial import Trial
from evals.schema.trial_file import read_trial
from flows.execute import visits
from flows.race import look
from reports.rounds.speeds import blocks_of
from tests.support.fake_sweep import install, write_plan

CELLS = (("none", False), ("none", True), ("torn", False))  # methods, and whether it is the control
ALL_ROUNDS = {"none": (1, 2, 3), "torn": (1, 2, 3), "control": (2, 3)}
ALL_VISITS = {(*cell, number): 1 for cell in CELLS for number in (2, 3)}


def ignore_disturbance(patch: pytest.MonkeyPatch) -> None:
    """What others do on the machine of the tests is no reason to visit again."""
    patch.setattr(disturbance, "FOREIGN_SHARE", 2.0)
    patch.setattr(disturbance, "STEAL_SHARE", 2.0)
    patch.setattr(disturbance, "SLOW_SENTINEL", 0.0)
    patch.setattr(disturbance, "SENTINEL_SECONDS", 0.01)


def install_race(patch: pytest.MonkeyPatch) -> None:
    """A fake engine on a quiet machine; no race ends before its rounds do."""
    install(patch.setattr)
    ignore_disturbance(patch)
    patch.setattr(look, "FIRST_LOOK", 1000)


def write_race_plan(workplace: Path, *, methods: tuple[str, ...] = ("none", "torn"), **race: Any) -> Path:
    file = write_plan(workplace, list(methods))
    plan = yaml.safe_load(file.read_text())
    del plan["repeats"]
    file.write_text(yaml.safe_dump(plan | {"race": {"rounds": 3, **race}}))
    return file


def run_sweep(workplace: Path, file: Path, *, store: bool = True, **given: Any) -> dict[str, Trial]:
    """The trials of the cells, by method, and of the control."""
    from flows.orchestration.sweep import sweep

    where = {"store": str(workplace / "store")} if store else {}
    sweep(plan=str(file), runs=str(workplace / "runs"), **where, **given)
    folder = workplace / "runs" / "fake" / "trials"
    names = json.loads((folder.parent / "sweep.json").read_text())["trials"]
    (control,) = map(read_trial, folder.glob("control-*.json"))
    return {trial.method: trial for trial in (read_trial(folder / name) for name in names)} | {"control": control}


def race_of(workplace: Path) -> RaceState:
    state = read_race(workplace / "runs" / "fake")
    assert state is not None
    return state


def rounds_of(trials: dict[str, Trial]) -> dict[str, tuple[int, ...]]:
    """In which rounds each was visited, by the repeats of its only load."""
    return {name: trial.speed[0].rounds for name, trial in trials.items()}


def count_visits(patch: pytest.MonkeyPatch) -> Counter[tuple[str, bool, int]]:
    """Counts the servers that are started for visits, by method, control and round."""
    made: Counter[tuple[str, bool, int]] = Counter()
    attempt = visits._attempt

    def counted(planned: visits._Planned) -> visits.Attempt:
        made[planned.row.cell.quantization.method.name, planned.visit.control, planned.visit.number] += 1
        return attempt(planned)

    patch.setattr(visits, "_attempt", counted)
    return made


def blocks_by_round(trials: dict[str, Trial]) -> dict[int, set[tuple[int, str, str]]]:
    """The blocks that the visits of each round are in."""
    blocks: dict[int, set[tuple[int, str, str]]] = {}
    for name, trial in trials.items():
        for number, block in blocks_of(trial).items():
            if (name, number) != ("control", 1):  # it has no visit of its own there
                blocks.setdefault(number, set()).add(block)
    return blocks
