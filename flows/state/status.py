"""Where a run stands, read from its folder alone: what is done, running, failed, still to do."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engines.redaction import redacted
from engines.runtime.cache import cache_folder
from evals.schema.run_file import FILE_NAME, read_run
from evals.schema.trial_file import UnreadableTrial, read_trial
from flows.state.locks import holder
from quant.errors import BitfrontierError

State = Literal["ok", "failed", "unsupported", "measuring", "quantizing", "to do"]


class RunChanged(BitfrontierError):
    """What made the run is not what would go on with it."""

    exit_code = 2


@dataclass(frozen=True)
class CellState:
    """One cell: `seconds` are those that its measurement took, or has taken so far; None where it has not begun. Of one
    that has not ended, `kept_parts` are the names of its finished parts, and `forecast_seconds` those of measuring it.
    """

    cell: str
    model: str
    state: State
    seconds: float | None
    reason: str
    kept_parts: tuple[str, ...] = ()
    forecast_seconds: float | None = None


def cell_states(folder: Path) -> list[CellState]:
    """Every cell of the run, in its order. Raises NoRun."""
    about = read_run(folder)
    cells = about.get("cells") or [_old_cell(folder, name) for name in about["trials"]]
    forecast = (about.get("forecast") or {}).get("cells", {})
    return [_state(folder, cell, forecast.get(cell["trial"]) or {}) for cell in cells]


def _old_cell(folder: Path, name: str) -> dict[str, Any]:
    """A cell of a run whose program did not note them: named by its trial, or by the trial's file until it is there."""
    file = folder / "trials" / name
    trial = None
    with contextlib.suppress(UnreadableTrial, FileNotFoundError):
        trial = read_trial(file) if file.exists() else None
    return {
        "trial": name,
        "name": trial.name if trial else name,
        "model": trial.model if trial else "",
        "checkpoint": None,
    }


def _state(folder: Path, cell: dict[str, Any], forecast: Mapping[str, float]) -> CellState:
    file = folder / "trials" / cell["trial"]
    if file.exists():
        try:
            trial = read_trial(file)
        except UnreadableTrial as error:
            return CellState(cell["name"], cell["model"], "failed", None, str(error))
        return CellState(cell["name"], cell["model"], trial.status, trial.seconds.get("total"), redacted(trial.why))
    seconds = sum(each or 0.0 for each in forecast.values()) or None
    given = cell.get("parts")  # runs of older programs do not name them
    named = given.items() if isinstance(given, Mapping) else ()
    files = {name: folder / "parts" / file for name, file in named if FILE_NAME.fullmatch(str(file))}
    kept_parts = tuple(name for name, file in files.items() if file.is_file())
    locks: dict[State, Path] = {"measuring": running_lock(file)}
    if cell["checkpoint"]:
        locks["quantizing"] = cache_folder() / "checkpoints" / f"{cell['checkpoint']}.lock"
    for state, lock in locks.items():
        owner = holder(lock)
        if owner is not None:
            return CellState(
                cell["name"], cell["model"], state, time.time() - owner.since_seconds, "", kept_parts, seconds
            )
    return CellState(cell["name"], cell["model"], "to do", None, "", kept_parts, seconds)


def running_lock(trial: Path) -> Path:
    """What a cell holds while it is measured."""
    return trial.parent.parent / "running" / f"{trial.stem}.lock"


def remaining_seconds(cells: Sequence[CellState]) -> float | None:
    """A guess from the mean of the cells that were measured in this run, else from its forecast; None without both."""
    took = [cell.seconds for cell in cells if cell.state == "ok" and cell.seconds is not None]
    left = [cell for cell in cells if cell.state in ("to do", "quantizing", "measuring")]
    whole_seconds = [sum(took) / len(took) if took else cell.forecast_seconds for cell in left]
    if None in whole_seconds or not (took or left):
        return None
    begun = [cell.seconds or 0.0 if cell.state == "measuring" else 0.0 for cell in left]
    return sum(max(0.0, (seconds or 0.0) - since) for seconds, since in zip(whole_seconds, begun, strict=True))


def counts(cells: Sequence[CellState]) -> dict[str, int]:
    """How many cells are in each state, in the order in which a person wants to know."""
    tally = Counter(cell.state for cell in cells)
    order: tuple[State, ...] = ("ok", "measuring", "quantizing", "to do", "failed", "unsupported")
    return {state: tally[state] for state in order if tally[state]}
