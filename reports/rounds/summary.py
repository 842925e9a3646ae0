"""What a race says of itself: its noise, the choice as a decision, each cell's visits, when and why it left."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from evals.rounds.best import against_the_best
from evals.rounds.block_model import BlockFit
from evals.rounds.posterior import choices, chosen_bounds, mean_draws
from evals.rounds.race import judge, resolution, rounds_until
from evals.schema.load import LoadPoint
from evals.schema.race_file import Left, RaceState
from evals.schema.trial import Trial
from evals.stats.intervals import Estimate, t_quantile
from reports.rounds.speeds import Fitted, disturbed_blocks, visits_of
from reports.rounds.standing import race_rules

FIGURE = "output rate"
SHOWN_ROUNDS = 3


@dataclass(frozen=True)
class Noise:
    """How far the visits of one cell differ, as shares of its output tokens/s at `load`.

    `typical`: two visits differ by more in one of three cases, known with so many `degrees` of freedom, those learnt
    in earlier races among them. `shows`: by rounds, the difference between two cells that so many show. `control`: the
    first baseline's control ÷ itself, which is 1 but for noise; None without one.
    """

    load: LoadPoint
    typical: float
    degrees: float
    shows: Mapping[int, float]
    control: Estimate | None


@dataclass(frozen=True)
class Certainty:
    """What choosing one cell means: the probability that it is the best of all cells that keep what is asked for, and
    keeps that itself; its two parts, that it is the `fastest` of them if it keeps that, and that it does (`kept_with`,
    1 where its intervals do); and if it does, the share of the best such cell's figure that it is expected to give
    away, and what it gives away in one of twenty cases. `figure` is its own, with an interval that allows for its
    having come first by luck.

    `rivals` are the names of those that may be the best beside it. So many `more_rounds` of these and itself show
    differences of the race's gap, and take `seconds`; None where it is decided, or a hundred do not.
    """

    best: float
    fastest: float
    kept_with: float
    regret: float
    regret_95: float
    figure: Estimate
    rivals: tuple[str, ...] = ()
    more_rounds: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Visited:
    """One cell in a race. `startup_seconds` is the median of its servers; `repeated`: visits that were made again for
    what others did on the machine; `disturbed`: those beside which something did to the last, and which are left out of
    the model of speeds as far as others say enough. `against_best`: its output
    tokens/s at the busiest load ÷ those of the best other cell of its model.
    """

    name: str
    model: str
    rounds: int
    startup_seconds: float | None
    repeated: int
    disturbed: int
    left_after: int | None
    why: str
    against_best: Estimate | None = None


def noise_of(
    models: Mapping[LoadPoint, Mapping[str, Fitted]], race: RaceState, baseline: str | None, control: str | None
) -> list[Noise]:
    """Of every load with a model of its output rate. `baseline` and `control` are keys of trials."""
    rules = race_rules(race)
    noises = []
    for load, figures in models.items():
        if (fitted := figures.get(FIGURE)) is None:
            continue
        fit = fitted.fit
        scale, degrees = float(fit.scale), float(fit.degrees)
        shows = {
            rounds: resolution(scale, degrees, rounds, rules)
            for rounds in sorted({min(SHOWN_ROUNDS, race.rules.rounds), race.rules.rounds})
        }
        against = paired_ratio(fitted, control, baseline) if control and baseline else None
        noises.append(Noise(load, math.expm1(scale * math.sqrt(2)), degrees, shows, against))
    return noises


def paired_ratio(fitted: Fitted, key: str, other: str) -> Estimate | None:
    """Of two cells' figures, paired by rounds."""
    if key not in fitted.keys or other not in fitted.keys:
        return None
    first, second = fitted.keys.index(key), fitted.keys.index(other)
    freedom = int(fitted.fit.degrees)
    middle = float(fitted.fit.differences()[first, second])
    half = t_quantile(freedom) * float(fitted.fit.standard_errors()[first, second])
    return Estimate(math.exp(middle), math.exp(middle - half), math.exp(middle + half), freedom + 1)


@dataclass(frozen=True)
class Rival:
    """A cell that keeps what is asked for with a probability of `kept_with`; that is `enough` to be recommended."""

    trial: Trial
    kept_with: float
    enough: bool


def certainty(
    fitted: Fitted, chosen: str, rivals: Mapping[str, Rival], race: RaceState, *, less: bool
) -> Certainty | None:
    """Of the chosen cell, which is one of the `rivals`, by keys of trials; None where the model does not hold it.

    Speeds and what cells keep are drawn together, one independently of the other: they are of other requests.
    """
    if chosen not in fitted.keys:
        return None
    places = [place for place, key in enumerate(fitted.keys) if key in rivals and rivals[key].kept_with > 0]
    keys, sign = [fitted.keys[place] for place in places], -1.0 if less else 1.0
    fit = fitted.fit.among(places, less=less)
    generator, place = np.random.default_rng(0), keys.index(chosen)
    drawn = mean_draws(fit, generator)
    bounds = chosen_bounds(fit, drawn, np.asarray(place))
    may_win = generator.random(drawn.shape) < np.asarray([rivals[key].kept_with for key in keys])
    choice = choices(drawn, may_win)
    low, high = sorted(math.exp(sign * float(end)) for end in (bounds.low, bounds.high))
    own = Estimate(math.exp(sign * float(fit.means[place])), low, high, int(fit.degrees) + 1)
    known = Certainty(
        best=float(choice.best[place]),
        fastest=float(choice.fastest[place]),
        kept_with=rivals[chosen].kept_with,
        regret=float(choice.regret[place]),
        regret_95=float(choice.regret_95[place]),
        figure=own,
    )
    return _undecided(known, keys, fit, rivals, race, chosen)


def _undecided(
    known: Certainty, keys: Sequence[str], fit: BlockFit, rivals: Mapping[str, Rival], race: RaceState, chosen: str
) -> Certainty:
    """With what more rounds would show, where several cells may still be the best."""
    rules = race_rules(race)
    racing = np.asarray([rivals[key].enough and key not in race.gone for key in keys])
    if not racing.any():
        return known
    standing = judge(fit, racing, rules)
    contenders = [key for key, stays in zip(keys, standing.contenders.tolist(), strict=True) if stays]
    names = tuple(rivals[key].trial.name for key in contenders if key != chosen)
    if standing.over:
        return replace(known, rivals=names)
    more = rounds_until(fit, standing.contenders, race.rules.gap, rules)
    visits = [visits_of(rivals[key].trial) for key in contenders]
    if more is None or not all(visits):
        return replace(known, rivals=names, more_rounds=more)
    took = [median(visit.took_seconds for visit in of_cell) for of_cell in visits]
    return replace(known, rivals=names, more_rounds=more, seconds=more * sum(took))


def against_best(fitted: Fitted, keys: Sequence[str], *, less: bool) -> dict[str, Estimate]:
    """Each of these cells' figure ÷ that of the best of the others, with intervals that hold for all at once (Hsu)."""
    places = [place for place, key in enumerate(fitted.keys) if key in keys]
    if len(places) < 2:
        return {}
    sign = -1.0 if less else 1.0
    fit = fitted.fit.among(places, less=less)
    bounds, means = against_the_best(fit), fit.means
    ratios = {}
    for number, place in enumerate(places):
        apart = float(means[number] - np.delete(means, number).max())
        ends = sorted((sign * float(bounds.low[number]), sign * float(bounds.high[number])))
        ratios[fitted.keys[place]] = Estimate(
            math.exp(sign * apart), math.exp(ends[0]), math.exp(ends[1]), int(fit.degrees) + 1
        )
    return ratios


def visited(trials: Sequence[Trial], race: RaceState, ratios: Mapping[str, Estimate]) -> list[Visited]:
    """Every cell that was timed, in the plan's order, with its ratio to the best other one by its trial's key."""
    left = {cell.key: cell for cell in race.left}
    timed = [trial for trial in trials if trial.status == "ok" and trial.speed]
    return [_visited(trial, left.get(trial.key), ratios.get(trial.key)) for trial in timed]


def _visited(trial: Trial, left: Left | None, ratio: Estimate | None) -> Visited:
    visits = visits_of(trial)
    starts = [seconds for seconds in (trial.startup_seconds, *(v.startup_seconds for v in visits)) if seconds]
    return Visited(
        name=trial.name,
        model=trial.model,
        rounds=len(trial.speed[0].visits()),
        startup_seconds=median(starts) if starts else None,
        repeated=sum(visit.attempts > 1 for visit in visits),
        disturbed=len(disturbed_blocks(trial)),
        left_after=left.after_round if left else None,
        why=left.why if left else "",
        against_best=ratio,
    )
