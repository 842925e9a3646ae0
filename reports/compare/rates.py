"""Output rates of one run against those of an earlier one, as one family of tests.

What made the machine slower for a while is the same for all cells of a round, but no round belongs to both runs. So a
cell's rate in one visit is off by its round and by an error of its own: log rate = cell in this run + round + error,
with variances of rounds and of errors that are those of both runs together (a two-way layout with random rounds:
Searle, Casella and McCulloch, Variance Components, 1992, chapter 4). Runs whose repeats are of one server have no
rounds: there each rate has the spread of its own repeats, which says nothing of what differs between servers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from evals.schema.load import LoadPoint
from evals.stats.intervals import Estimate, t_quantile
from evals.stats.multiple_testing import holm
from reports.decision.results import Results
from reports.metrics.cell import CellMetrics
from reports.metrics.load import load_metrics, visit_rates
from reports.metrics.ratios import ratio_of_means
from reports.rounds.speeds import Fitted, blocks_of, fit_figure, in_rounds

LEAST_SHIFT = 0.03  # of the logarithms' mean


@dataclass(frozen=True)
class RateChange:
    """After ÷ before with its 95 % interval, and the two-sided p value of its being the least share that passes, as it
    is (`p_value`) and after Holm's correction over all rates of the comparison (`adjusted`).
    """

    ratio: Estimate
    p_value: float
    adjusted: float = 1.0


@dataclass(frozen=True)
class _Rounds:
    """The model of one run's output rates under one load: `count` rounds, whose means vary by `variance` (of
    logarithms, errors included); a round's mean is of `each` cells.
    """

    fitted: Fitted
    count: int
    variance: float
    each: float

    def error_share(self, key: str) -> float:
        """Of a cell's mean, the share of the errors' variance that is not in the rounds' already."""
        place = self.fitted.keys.index(key)
        return max(float(self.fitted.fit.unscaled[place, place]) - 1 / (self.each * self.count), 0.0)

    @property
    def degrees(self) -> float:
        """Of the errors; a cell alone has none that is not a round's."""
        return float(self.fitted.fit.degrees) if len(self.fitted.keys) > 1 else 0.0


def rate_changes(
    before: Results, after: Results, pairs: Sequence[tuple[CellMetrics, CellMetrics]], least: float
) -> dict[tuple[str, LoadPoint], RateChange]:
    """Of each load that both of a pair were measured under on one device, by the later trial's key: `least` is the
    share of the earlier rate at which neither side is right.
    """
    changes: dict[tuple[str, LoadPoint], RateChange] = {}
    loads = dict.fromkeys(speed.load for _, now in pairs for speed in now.trial.speed)
    models = {load: (_rounds(before, load), _rounds(after, load)) for load in loads}
    for was, now in pairs:
        earlier = {speed.load: speed for speed in was.trial.speed}
        for speed in now.trial.speed:
            if speed.load not in earlier or was.trial.device != now.trial.device:
                continue
            old, new = models[speed.load]
            if old and new and was.trial.key in old.fitted.keys and now.trial.key in new.fitted.keys:
                change = _by_rounds(old, was.trial.key, new, now.trial.key, least)
            else:
                rate, rate_now = (load_metrics(of_run).output_rate for of_run in (earlier[speed.load], speed))
                change = RateChange(ratio_of_means(rate_now, rate), _welch(rate, rate_now, least))
            changes[now.trial.key, speed.load] = change
    adjusted = holm([change.p_value for change in changes.values()])
    return {
        key: RateChange(change.ratio, change.p_value, p)
        for (key, change), p in zip(changes.items(), adjusted, strict=True)
    }


def moved_alike(changes: Sequence[RateChange]) -> str | None:
    """What is to be said where all rates, baselines' too, are higher, or all lower: what differs between two runs as
    a whole, such as the machine's speed of that hour, is in no variance that either of them shows.
    """
    logs = [math.log(change.ratio.value) for change in changes]
    if len(logs) < 2 or min(logs) * max(logs) <= 0 or abs(float(np.mean(logs))) < LEAST_SHIFT:
        return None
    mean, low, high = (math.exp(end) for end in (float(np.mean(logs)), min(logs), max(logs)))
    return (
        f"all {len(logs)} rates are {mean:.2f} ({low:.2f} to {high:.2f}) times what they were: "
        "the machine as a whole may have been faster or slower in one of the runs, which no p value here allows for"
    )


def _rounds(run: Results, load: LoadPoint) -> _Rounds | None:
    """None where the run has no rounds under this load, or they cannot be fitted."""
    speeds = {
        cell.trial.key: (cell.trial, speed) for cell in run.cells for speed in cell.trial.speed if speed.load == load
    }
    if not any(in_rounds(speed) for _, speed in speeds.values()):
        return None
    values = {}
    for key, (trial, speed) in speeds.items():
        blocks, rates = blocks_of(trial), {n: visit_rates(repeats)[0] for n, repeats in speed.visits().items()}
        values[key] = {blocks.get(n, (n, "", "")): rate for n, rate in rates.items() if rate > 0}
    fitted = fit_figure(values)
    if fitted is None:
        return None
    means = dict(zip(fitted.keys, fitted.fit.means.tolist(), strict=True))
    shared: dict[object, list[float]] = {}
    for key in fitted.keys:
        for block, rate in values[key].items():
            shared.setdefault(block, []).append(math.log(rate) - means[key])
    if len(shared) < 2:
        return None
    of_rounds = [float(np.mean(offsets)) for offsets in shared.values()]
    each = 1 / float(np.mean([1 / len(offsets) for offsets in shared.values()]))
    return _Rounds(fitted, len(shared), float(np.var(of_rounds, ddof=1)), each)


def _by_rounds(old: _Rounds, old_key: str, new: _Rounds, new_key: str, least: float) -> RateChange:
    """Degrees of freedom by Satterthwaite (Biometrics Bulletin 2, 1946)."""
    sides = ((old, old_key), (new, new_key))
    round_degrees, error_degrees = sum(side.count - 1 for side, _ in sides), sum(side.degrees for side, _ in sides)
    rounds = sum((side.count - 1) * side.variance for side, _ in sides) / round_degrees
    errors = sum(side.degrees * float(side.fitted.fit.scale) ** 2 for side, _ in sides) / max(error_degrees, 1.0)
    from_rounds = rounds * sum(1 / side.count for side, _ in sides)
    from_errors = errors * sum(side.error_share(key) for side, key in sides)
    means = [float(side.fitted.fit.means[side.fitted.keys.index(key)]) for side, key in sides]
    squares = from_rounds**2 / round_degrees + from_errors**2 / max(error_degrees, 1.0)
    difference, variance = means[1] - means[0], from_rounds + from_errors
    degrees = variance**2 / squares if squares else math.inf
    half = t_quantile(max(int(degrees), 1)) * math.sqrt(variance) if variance else 0.0
    value, low, high = (math.exp(log) for log in (difference, difference - half, difference + half))
    ratio = Estimate(value, low, high, int(min(degrees, 1e9)) + 1)
    return RateChange(ratio, _two_sided(difference - math.log(least), math.sqrt(variance), degrees))


def _welch(was: Estimate, now: Estimate, least: float) -> float:
    """Of two geometric means with intervals of their own (Welch, Biometrika 34, 1947); 1 where one has none."""
    if not all(0 < rate.low <= rate.high < math.inf for rate in (was, now)):
        return 1.0
    variances = [(math.log(r.high / r.low) / 2 / t_quantile(max(r.count - 1, 1))) ** 2 for r in (was, now)]
    squares = sum(v**2 / max(r.count - 1, 1) for v, r in zip(variances, (was, now), strict=True))
    degrees = sum(variances) ** 2 / squares if squares else math.inf
    return _two_sided(math.log(now.value / was.value / least), math.sqrt(sum(variances)), degrees)


def _two_sided(distance: float, error: float, degrees: float) -> float:
    if not error:
        return 0.0 if distance else 1.0
    return float(2 * special.stdtr(degrees, -abs(distance) / error))
