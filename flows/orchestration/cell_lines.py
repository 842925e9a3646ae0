"""What a sweep says of its cells while it goes on: a line for each that has ended, and how long others will take."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evals.schema.run_file import read_run
from evals.schema.trial import Trial
from flows.execute.prepared import Prepared, Row
from flows.execute.rows import finished
from flows.race.contenders import Entry
from flows.state.progress_display import cell_line
from flows.state.remaining import Remaining
from reports.decision.results import conclude
from reports.output.formatting import number, plus_minus


def ended_line(prepared: Prepared, row: Row, trial: Trial, number: int) -> str:
    """With what its cell is worth as far as it is known by now: held against the unquantized cells of its model that
    have ended.
    """
    figures = _figures(prepared, row, trial) if trial.status == "ok" else ""
    return cell_line(trial, number, len(prepared.rows), figures)


def _figures(prepared: Prepared, row: Row, trial: Trial) -> str:
    plain = [
        other
        for other in prepared.rows
        if other.cell.quantization.scheme.unquantized and other.cell.model == row.cell.model and other is not row
    ]
    trials = [ended for ended in map(finished, plain) if ended is not None and ended.status == "ok"]
    results = conclude(read_run(prepared.folder), [*trials, trial], prepared.folder / "trials")
    judged = next((judged for judged in results.judged if judged.cell.trial.key == trial.key), None)
    if judged is None:  # its samples are none of a measurement
        return next(other.why for other in results.trials if other.key == trial.key)
    if not judged.cell.loads:
        return judged.verdict
    rate = judged.cell.busiest.output_rate  # of a single visit it has no interval: others may differ by any amount
    figure = f"{plus_minus(rate)} tok/s" if math.isfinite(rate.high) else f"{number(rate.value)} tok/s (one visit)"
    return f"{figure}  {judged.verdict}"


def remaining(prepared: Prepared) -> Remaining:
    """Of measuring all cells, by their trials' names and as it was forecast when the run was begun."""
    noted = (read_run(prepared.folder).get("forecast") or {}).get("cells", {})
    phases = {row.file.name: noted.get(row.file.name) or {} for row in prepared.rows}
    forecast = {name: sum(seconds or 0.0 for seconds in given.values()) for name, given in phases.items()}
    return Remaining(forecast, {row.file.name: row.cell.choice.engine.name for row in prepared.rows})


def remaining_of_round(racing: Sequence[Entry]) -> Remaining:
    """Of visiting these cells once more: as long as each took at first to be started and timed."""
    trials = {entry.key: finished(entry.row) for entry in racing}
    took = {key: trial.seconds if trial else {} for key, trial in trials.items()}
    forecast = {key: seconds.get("start", 0.0) + seconds.get("speed", 0.0) for key, seconds in took.items()}
    return Remaining(forecast, {entry.key: entry.row.cell.choice.engine.name for entry in racing})
