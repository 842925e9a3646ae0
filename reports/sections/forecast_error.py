"""How long the run was forecast to take, against what it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.schema.trial import Trial


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


def forecast_error(about: Mapping[str, Any], trials: Sequence[Trial]) -> ForecastError | None:
    """None where the run has no forecast (it was made by an older program), or is not complete."""
    forecast = about.get("forecast")
    if not forecast or not {"seconds", "factor"} <= forecast.keys() or len(trials) < len(about["trials"]):
        return None
    made = {trial.checkpoint.get("key"): trial.checkpoint.get("seconds") for trial in trials if trial.checkpoint}
    took = sum((seconds or {}).get("total", 0.0) for seconds in made.values())
    took += sum(trial.seconds.get("total", 0.0) for trial in trials)
    visits = [visit for trial in trials for visit in trial.provenance.get("visits", ())]
    took += sum(visit.get("seconds", 0.0) + (visit.get("startup_seconds") or 0.0) for visit in visits)
    failed = sum(trial.status == "failed" for trial in trials)
    return ForecastError(forecast["seconds"], forecast["factor"], took, failed)
