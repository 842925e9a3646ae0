"""What `bitfrontier plan` forecast, against what it took: `python -m benchmarks.forecasts RUN … [--plan PLAN]`.

Each RUN is a run's folder or an archive that holds some. A run of a program that kept no forecast is held against what
the present one forecasts for its PLAN on this machine, which must be like the run's. Prints for each phase of each
measured cell the forecast seconds (as device and model alone give them), those that it took and their ratio; of a
complete run also the whole, checkpoints included.
"""

from __future__ import annotations

import argparse
import math
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from evals.schema.race_file import read_race
from evals.schema.run_file import RUN_FILE, read_run
from evals.schema.trial_file import read_trial
from flows.plan.source import load_plan
from flows.validate.estimate import Forecast, estimate
from flows.validate.plan import check
from reports.rounds.control import control_of
from reports.sections.durations import forecast_error


def run_folders(given: Path, unpacked: Path) -> list[Path]:
    """The folders of the runs in a folder, or in an archive that is unpacked below `unpacked`."""
    folder = given
    if given.is_file():
        folder = unpacked / given.name
        with tarfile.open(given) as packed:
            packed.extractall(folder, filter="data")
    return sorted(file.parent for file in folder.rglob(RUN_FILE))


def planned(plan: Path) -> tuple[Forecast, dict[tuple[str, str], Mapping[str, float]]]:
    """What the present program forecasts, and the seconds of each phase by method's label and engine."""
    sweep = check(load_plan(plan))
    with tempfile.TemporaryDirectory() as no_runs:
        forecast = estimate(sweep, Path(no_runs))
    cells = [(cell.quantization.label, cell.choice.engine.name) for cell in sweep.cells]
    # of two baselines of an engine the first
    return forecast, dict(zip(reversed(cells), reversed(forecast.raw), strict=True))


def print_run(folder: Path, plan: Path | None) -> list[float]:
    """Print a table of one run. Returns the ratios of its phases, took ÷ forecast."""
    about = read_run(folder)
    files = [name for name in about["trials"] if (folder / "trials" / name).exists()]
    trials = {name: read_trial(folder / "trials" / name) for name in files}
    by_cell: Mapping[tuple[str, str], Mapping[str, float]] = {}
    source = "kept by the run"
    if "forecast" not in about and plan is not None:
        forecast, by_cell = planned(plan)
        source = f"of the present program for {plan}"
        about |= {
            "forecast": {"seconds": forecast.seconds, "factor": forecast.factor, "basis": forecast.basis, "cells": {}}
        }
    recorded = about.get("forecast", {"basis": "none", "cells": {}})
    print(f"\n{about.get('name', folder.name)}; forecast {source}: {recorded['basis']}\n")
    print("| cell | phase | forecast, s | took, s | took ÷ forecast |\n|---|---|---|---|---|")
    ratios = []
    for file, trial in trials.items():
        phases = recorded["cells"].get(file) or by_cell.get((trial.method_label, trial.engine), {})
        for phase, seconds in phases.items():
            took = trial.seconds.get(phase, 0.0)
            if trial.status == "ok" and min(seconds, took) > 0:
                ratios.append(took / seconds)
                print(f"| {trial.name} | {phase} | {seconds:.1f} | {took:.1f} | {took / seconds:.2f} |")
    error = forecast_error(about, [*trials.values()], control_of(folder, read_race(folder)))
    if error is not None:
        print(
            f"\nThe whole: forecast {error.forecast_seconds:.0f} s within a factor of {error.factor:.1f}, "
            f"took {error.took_seconds:.0f} s"
        )
    return ratios


def summary(ratios: Sequence[float]) -> str:
    """The geometric mean of the ratios and their spread as a factor (one standard deviation)."""
    logs = [math.log(ratio) for ratio in ratios]
    mean = math.fsum(logs) / len(logs)
    spread = math.sqrt(math.fsum((log - mean) ** 2 for log in logs) / len(logs))
    return f"{len(logs)} phases: took {math.exp(mean):.2f} × the forecast, within a factor of {math.exp(spread):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", type=Path)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    given, ratios = parser.parse_args(), []
    with tempfile.TemporaryDirectory() as unpacked:
        for run in given.runs:
            for folder in run_folders(run, Path(unpacked)):
                ratios += print_run(folder, given.plan)
    if ratios:
        print(f"\n{summary(ratios)}")


if __name__ == "__main__":
    main()
