"""How far forecasts were off in the runs of this machine: what they forecast, held against what the trials took."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from engines.telemetry.machine import Machine
from evals.schema.migrate import NewerSchema
from evals.schema.run_file import FILE_NAME, NoRun, read_run
from quant.canonical_json import read_regular

NEWEST_TRIALS = 40  # a trial holds raw samples: to read all that ever was would take longer than the plan
LARGEST_BYTES = 4_000_000


@dataclass(frozen=True)
class PastRatio:
    """Geometric mean of took ÷ forecast over `trials`, and the standard deviation of its logarithm."""

    ratio: float
    deviation: float
    trials: int

    @property
    def correction(self) -> float:
        """What a forecast is multiplied by: less than the whole ratio where few trials tell it."""
        return math.exp(math.log(self.ratio) * self.trials / (self.trials + 1))

    def factor(self, prior: float) -> float:
        """Within it lie 95 % of what comes next, as far as is known; `prior`, that without any trial, counts as two."""
        variance = (self.trials * self.deviation**2 + 2 * (math.log(prior) / 2) ** 2) / (self.trials + 2)
        return math.exp(2 * math.sqrt(variance * (1 + 1 / self.trials)))


def past_ratios(runs: Path, machine: Machine) -> Mapping[tuple[str, str], PastRatio]:
    """By engine and phase (start, speed, accuracy) of the newest trials on the same machine; damaged files are none."""
    here = json.loads(json.dumps(asdict(machine)))
    logs: dict[tuple[str, str], list[float]] = defaultdict(list)
    for file, forecast in _newest(runs):
        try:
            trial = json.loads(read_regular(file, LARGEST_BYTES))
            took, engine, origin = trial["seconds"], str(trial["engine"]), trial["provenance"]["machine"]
            if trial["status"] != "ok" or origin != here:
                continue
            ratios = {phase: took[phase] / seconds for phase, seconds in forecast.items() if seconds and phase in took}
        except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
            continue
        for phase, ratio in ratios.items():
            if 0 < ratio < math.inf:
                logs[engine, phase].append(math.log(ratio))
    return {
        key: PastRatio(math.exp(float(np.mean(values))), float(np.std(values)), len(values))
        for key, values in logs.items()
    }


def _newest(runs: Path) -> list[tuple[Path, Mapping[str, float]]]:
    """Files of trials that a run has forecast, with the seconds of each phase."""
    forecast_trials = []
    try:
        folders = sorted(path.parent for path in runs.glob("*/sweep.json"))
    except OSError:  # a path that is none, or that we may not read
        return []
    for folder in folders:
        try:
            cells = (read_run(folder).get("forecast") or {}).get("cells", {})
        except (NoRun, NewerSchema):
            continue
        for name, seconds in cells.items():
            if not FILE_NAME.fullmatch(name):
                continue
            file = folder / "trials" / name
            if file.is_file() and file.stat().st_size <= LARGEST_BYTES and seconds:
                forecast_trials.append((file.stat().st_mtime, file, seconds))
    newest = sorted(forecast_trials, key=lambda entry: entry[0], reverse=True)[:NEWEST_TRIALS]
    return [(file, seconds) for _, file, seconds in newest]
