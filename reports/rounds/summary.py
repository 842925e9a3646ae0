"""What a race says of itself: its noise, the choice as a decision, each cell's visits, when and why it left."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from evals.rounds.posterior import choices, mean_draws
from evals.rounds.race import RaceRules, resolution
from evals.schema.load import LoadPoint
from evals.schema.race_file import RaceState
from evals.schema.trial import Trial
from evals.stats.intervals import Estimate, t_quantile
from reports.rounds.speeds import Fitted

FIGURE = "output rate"
SHOWN_ROUNDS = (3, 8)


@dataclass(frozen=True)
class Noise:
    """How far the visits of one cell differ, as shares of its output tokens/s at `load`.

    `typical`: two visits differ by more in one of three cases. `shows`: by rounds, the difference between two cells
    that so many show. `control`: the first baseline's control ÷ itself, which is 1 but for noise; None without one.
    """

    load: LoadPoint
    typical: float
    degrees: float
    shows: Mapping[int, float]
    control: Estimate | None


@dataclass(frozen=True)
class Certainty:
    """What choosing one cell means: the probability that it is the best of those that may win, the share of the best
    one's figure that it is expected to give away, and what it gives away in one of twenty cases.
    """

    best: float
    regret: float
    regret_95: float


@dataclass(frozen=True)
class Visited:
    """One cell in a race. `startup_seconds` is the median of its servers; `repeated`: visits that were made again for
    what others did on the machine; `disturbed`: those that count although something did.
    """

    name: str
    model: str
    rounds: int
    startup_seconds: float | None
    repeated: int
    disturbed: int
    left_after: int | None
    why: str


def noise_of(
    models: Mapping[LoadPoint, Mapping[str, Fitted]], race: RaceState, baseline: str | None, control: str | None
) -> list[Noise]:
    """Of every load with a model of its output rate. `baseline` and `control` are keys of trials."""
    rules = RaceRules(race.rules.rounds, race.rules.gap, race.rules.alpha)
    noises = []
    for load, figures in models.items():
        if (fitted := figures.get(FIGURE)) is None:
            continue
        fit = fitted.fit
        scale, degrees = float(fit.scale), float(fit.degrees)
        shows = {rounds: resolution(scale, degrees, rounds, rules) for rounds in SHOWN_ROUNDS}
        against = _ratio(fitted, control, baseline) if control and baseline else None
        noises.append(Noise(load, math.expm1(scale * math.sqrt(2)), degrees, shows, against))
    return noises


def _ratio(fitted: Fitted, key: str, other: str) -> Estimate | None:
    """Of two cells' figures, paired by rounds."""
    if key not in fitted.keys or other not in fitted.keys:
        return None
    first, second = fitted.keys.index(key), fitted.keys.index(other)
    freedom = int(fitted.fit.degrees)
    middle = float(fitted.fit.differences()[first, second])
    half = t_quantile(freedom) * float(fitted.fit.standard_errors()[first, second])
    return Estimate(math.exp(middle), math.exp(middle - half), math.exp(middle + half), freedom + 1)


def certainty(fitted: Fitted, chosen: str, rivals: Sequence[str], *, less: bool) -> Certainty | None:
    """Of the chosen cell among `rivals` and itself (keys of trials); None where the model does not hold it."""
    places = [place for place, key in enumerate(fitted.keys) if key in {chosen, *rivals}]
    if chosen not in fitted.keys:
        return None
    drawn = mean_draws(fitted.fit, np.random.default_rng(0))[:, places]
    choice = choices(-drawn if less else drawn)
    place = places.index(fitted.keys.index(chosen))
    return Certainty(float(choice.best[place]), float(choice.regret[place]), float(choice.regret_95[place]))


def visited(trials: Sequence[Trial], race: RaceState) -> list[Visited]:
    """Every cell that was timed, in the plan's order."""
    left = {cell.key: cell for cell in race.left}
    return [_visited(trial, left.get(trial.key)) for trial in trials if trial.status == "ok" and trial.speed]


def _visited(trial: Trial, left: Any) -> Visited:
    visits = trial.provenance.get("visits", ())
    starts = [seconds for seconds in (trial.startup_seconds, *(v.get("startup_seconds") for v in visits)) if seconds]
    return Visited(
        name=trial.name,
        model=trial.model,
        rounds=len(trial.speed[0].visits()),
        startup_seconds=median(starts) if starts else None,
        repeated=sum(visit.get("attempts", 1) > 1 for visit in visits),
        disturbed=sum(bool(visit.get("disturbed")) for visit in visits),
        left_after=left.after_round if left else None,
        why=left.why if left else "",
    )
