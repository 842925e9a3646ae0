"""Where the time of a run went, and how long it was forecast to take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.schema.trial import Trial
from reports.rounds.speeds import visits_of


@dataclass(frozen=True)
class Spent:
    """Seconds of all cells together on one kind of work, whoever did it and when."""

    work: str
    seconds: float


@dataclass(frozen=True)
class ForecastError:
    """Seconds of measuring all cells and making their checkpoints, as forecast within a `factor`, and as it was."""

    forecast_seconds: float
    factor: float
    took_seconds: float
    failed: int

    @property
    def is_within(self) -> bool:
        return self.forecast_seconds / self.factor <= self.took_seconds <= self.forecast_seconds * self.factor


def spent(trials: Sequence[Trial], control: Trial | None = None) -> list[Spent]:
    """What the trials say, and of a race's `control` the later visits, which are all that it has; environments,
    downloads and waiting for a device are in none of them.
    """
    made = {trial.checkpoint.get("key"): trial.checkpoint.get("seconds") for trial in trials if trial.checkpoint}
    good = [trial.seconds for trial in trials if trial.status != "failed"]
    raced = [*trials, *([control] if control else [])]
    visits = [visit for trial in raced for visit in visits_of(trial)]
    works = {
        "quantizing": sum((seconds or {}).get("total", 0.0) for seconds in made.values()),
        "starting servers": sum(seconds.get("start", 0.0) for seconds in good)
        + sum(visit.startup_seconds or 0.0 for visit in visits),
        "loads": sum(seconds.get("speed", 0.0) for seconds in good) + sum(visit.seconds for visit in visits),
        "accuracy": sum(seconds.get("accuracy", 0.0) for seconds in good),
        "visits made again": sum(
            v.took_seconds - v.seconds - (v.startup_seconds or 0.0) for v in visits if v.attempts > 1
        ),
        "cells that failed": sum(trial.seconds.get("total", 0.0) for trial in trials if trial.status == "failed"),
    }
    total = sum(seconds.get("total", 0.0) for seconds in good)
    divided = sum(seconds.get(name, 0.0) for seconds in good for name in ("start", "speed", "accuracy"))
    works["measuring (not divided)"] = total - divided  # in files of older programs
    return [Spent(work, seconds) for work, seconds in works.items() if seconds > 1e-3]


def forecast_error(
    about: Mapping[str, Any], trials: Sequence[Trial], control: Trial | None = None
) -> ForecastError | None:
    """None where the run has no forecast (it was made by an older program), or is not complete."""
    forecast = about.get("forecast")
    if not forecast or not {"seconds", "factor"} <= forecast.keys() or len(trials) < len(about["trials"]):
        return None
    took = sum(part.seconds for part in spent(trials, control))
    failed = sum(trial.status == "failed" for trial in trials)
    return ForecastError(forecast["seconds"], forecast["factor"], took, failed)
