"""Who takes part in a round, and in which order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evals.schema.race_file import RACE_FILE, RaceState, Rules, control_key, read_race
from flows.execute.prepared import Prepared, Row
from flows.execute.rows import finished, save_trial
from flows.execute.visits import Visit, is_finished, later_visits, with_visits
from flows.plan.race import RacePlan
from quant.canonical_json import write_json
from quant.hashing import digest
from reports.rounds.control import control_of
from reports.rounds.speeds import visits_of


@dataclass(frozen=True)
class Entry:
    """A cell in a round; a `control` is the first baseline under another name."""

    row: Row
    control: bool = False

    @property
    def key(self) -> str:
        return control_key(self.row.key) if self.control else self.row.key

    @property
    def name(self) -> str:
        return f"{self.row.cell.name}, control" if self.control else self.row.cell.name


def rules_of(plan: RacePlan) -> Rules:
    return Rules(plan.rounds, plan.gap, plan.alpha)


def race_is_over(prepared: Prepared) -> bool:
    """True where the race of this very plan has ended before, or it has none, and had none."""
    state = read_race(prepared.folder)
    if prepared.sweep.plan.race is None:
        return not (prepared.folder / RACE_FILE).exists()
    return state is not None and state.ended is not None and state.of == race_of(prepared)


def race_of(prepared: Prepared) -> str:
    """Of the plan and its cells: what is decided by other limits, or among other cells, is decided anew."""
    return digest([prepared.sweep.plan.model_dump(mode="json"), [row.key for row in prepared.rows]])


def first_round(prepared: Prepared) -> list[Row]:
    """All rows in the order in which they are first measured: in a race a random one, but unquantized cells before
    those that are held against them.
    """
    if prepared.sweep.plan.race is None:
        return list(prepared.rows)
    shuffled = list(prepared.rows)
    _generator(prepared, 1).shuffle(shuffled)
    return sorted(shuffled, key=lambda row: not row.cell.quantization.scheme.unquantized)


def entries(prepared: Prepared, state: RaceState, number: int) -> list[Entry]:
    """Those of a round, in random order: cells that were measured and have not left, and the control; where the plan
    gives `minutes`, from the first look on those cells alone that decide most. A server that somebody else runs cannot
    be started anew, so that its later visits would be no visits.
    """
    pairs = [(row, finished(row)) for row in prepared.rows if row.file.name not in prepared.stale]
    timed = [row for row, trial in pairs if trial is not None and trial.status == "ok" and trial.speed]
    racing = [row for row in timed if not row.cell.choice.attached]
    cells = [Entry(row) for row in racing if row.key not in state.gone]
    plan = prepared.sweep.plan.race
    if plan is not None and plan.minutes and (telling := [cell for cell in cells if cell.key in state.telling]):
        cells = telling
    elif plan is not None and plan.control:
        control = next((Entry(row, True) for row in racing if row.cell.quantization.scheme.unquantized), None)
        cells += [control] if control and control.key not in state.gone else []
    _generator(prepared, number).shuffle(cells)
    return cells


def _generator(prepared: Prepared, number: int) -> random.Random:
    return random.Random(f"{prepared.sweep.plan.seed} round {number}")


def control_file(prepared: Prepared, entry: Entry) -> Path:
    """The control's trial, beside those of the cells."""
    return entry.row.file.with_name(f"control-{entry.key[:12]}.json")


def refresh(prepared: Prepared, entry: Entry, rounds: int) -> None:
    """Put the visits of the first `rounds` rounds that are finished into the cell's trial, where it lacks some."""
    trial = finished(entry.row)
    if trial is None or trial.status != "ok":
        return
    visits = later_visits(prepared.folder / "parts", entry.row, rounds, control=entry.control)
    if entry.control:
        if visits:
            speeds = tuple(replace(speed.of_round(1), repeats=(), clients=(), gpus=()) for speed in trial.speed)
            control = replace(trial, key=entry.key, speed=speeds, provenance={**trial.provenance, "control": True})
            write_json(control_file(prepared, entry), with_visits(control, visits), compact=True)
    elif {visit.round for visit in visits_of(trial)} != visits.keys():
        save_trial(entry.row, with_visits(trial, visits))


def refresh_all(prepared: Prepared, cells: Sequence[Entry], rounds: int) -> None:
    for entry in cells:
        refresh(prepared, entry, rounds)


def visit_of(entry: Entry, number: int, place: int) -> Visit:
    return Visit(number, place, entry.control)


def is_visited(prepared: Prepared, entry: Entry, number: int) -> bool:
    """True if the cell's visit in this round is finished in the run's folder."""
    return is_finished(prepared.folder / "parts", visit_of(entry, number, 0).requests(entry.row))


def spent_seconds(prepared: Prepared, state: RaceState) -> float:
    """What the later visits of all cells and of the control took until this state, whoever made them and when."""
    control = control_of(prepared.folder, state)
    trials = [*(finished(row) for row in prepared.rows), control]
    visits = [visit for trial in trials if trial is not None for visit in visits_of(trial)]
    return sum(visit.took_seconds for visit in visits if visit.round <= state.number)
