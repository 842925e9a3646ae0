"""Output rates of one run against those of an earlier one, as one family of tests.

What made the machine slower for a while is the same for all cells of a round, but no round belongs to both runs. So a
cell's rate in one visit is off by its round and by an error of its own: log rate = cell in this run + round + error,
with variances of rounds and of errors that are those of both runs together (a two-way layout with random rounds:
Searle, Casella and McCulloch, Variance Components, 1992, chapter 4). Runs whose repeats are of one server have no
rounds: there each rate has the spread of its own repeats, and what differs between servers comes to it.

What the machine did to a whole run is in no variance that the run shows. So a rate is judged by its change relative to
the other cells (`evals.rounds.two_runs`), and what all cells have in common is told apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace

import numpy as np

from evals.rounds.block_model import Flags, NoisePrior
from evals.rounds.two_runs import (
    OF_A_CELL,
    OF_A_RUN,
    OF_A_SERVER,
    Changes,
    common_change,
    of_others,
    p_of_verdicts,
    relative_changes,
)
from evals.schema.load import LoadPoint
from evals.stats.intervals import Estimate, t_quantile
from evals.stats.multiple_testing import holm
from reports.decision.results import Results
from reports.metrics.cell import CellMetrics
from reports.metrics.load import load_metrics, visit_rates
from reports.metrics.ratios import ratio_of_means
from reports.rounds.speeds import Fitted, blocks_of, disturbed_blocks, fit_figure, in_rounds


@dataclass(frozen=True)
class RateChange:
    """After ÷ before with its 95 % interval in these two runs, and ÷ that of the other cells of its load (`relative`;
    None without others). `slower`: on which side of the least share that passes it lies. `p_value` is two-sided, of
    neither verdict being right, `adjusted` by Holm's correction over all rates of the comparison.
    """

    ratio: Estimate
    relative: Estimate | None = None
    slower: bool = False
    p_value: float = 1.0
    adjusted: float = 1.0


@dataclass(frozen=True)
class CommonChange:
    """After ÷ before that `count` rates have in common: as these two runs show it (`seen`), and as far as it is not the
    machine's, which differs from run to run by more than any of them shows (`ratio`). Each with its two-sided p value
    of being the least share that passes.
    """

    count: int
    seen: Estimate
    p_seen: float
    ratio: Estimate
    p_value: float


@dataclass(frozen=True)
class RateChanges:
    """Of two runs, by the later trial's key and the load; `common` of two cells or more."""

    of_cells: Mapping[tuple[str, LoadPoint], RateChange] = field(default_factory=dict)
    common: CommonChange | None = None


@dataclass(frozen=True)
class _Rounds:
    """The model of one run's output rates under one load: `count` rounds, whose means vary by `variance` (of
    logarithms, errors included); a round's mean is of `each` cells. Rounds count by their cells: as `worth` alike ones.
    """

    fitted: Fitted
    count: int
    worth: float
    variance: float
    each: float

    def error_share(self, key: str, *, shared: bool) -> float:
        """Of a cell's mean, the share of the errors' variance; not of what is in the rounds' already, if `shared`."""
        place = self.fitted.keys.index(key)
        in_rounds = 1 / (self.each * self.worth) if shared else 0.0
        return max(float(self.fitted.fit.unscaled[place, place]) - in_rounds, 0.0)

    @property
    def degrees(self) -> float:
        """Of the errors; a cell alone has none that is not a round's."""
        return float(self.fitted.fit.degrees) if len(self.fitted.keys) > 1 else 0.0


@dataclass(frozen=True)
class _Seen:
    """The logarithm of one rate's change: the variance of its own visits (`own`; `apart` from what is in the rounds)
    with so many degrees of freedom, and of the rounds that it shares with other cells.
    """

    value: float
    own: float
    apart: float
    degrees: float
    of_rounds: float = 0.0
    round_degrees: float = 1.0


def rate_changes(
    before: Results,
    after: Results,
    pairs: Sequence[tuple[CellMetrics, CellMetrics]],
    least: float,
    unchanged: frozenset[str],
) -> RateChanges:
    """Of each load that both of a pair were measured under on one device, other measurements in each run: `least` is
    the share of the earlier rate at which neither side is right. `unchanged` are the keys of later trials of which
    nothing is recorded as another than before.
    """
    changes: dict[tuple[str, LoadPoint], RateChange] = {}
    common: list[tuple[int, Changes]] = []
    for load in dict.fromkeys(speed.load for _, now in pairs for speed in now.trial.speed):
        by_rounds, by_servers, unknown = _seen(before, after, pairs, load)
        changes |= {(key, load): change for key, change in unknown.items()}
        for prior, seen in ((OF_A_CELL, by_rounds), (OF_A_SERVER, by_servers)):
            if seen:
                same = np.asarray([key in unchanged for key in seen])
                judged, of_all = _judged(list(seen.values()), prior, same, math.log(least))
                changes |= {(key, load): change for key, change in zip(seen, judged, strict=True)}
                common.append((len(seen), of_all))
    adjusted = holm([change.p_value for change in changes.values()])
    of_cells = {key: replace(change, adjusted=p) for (key, change), p in zip(changes.items(), adjusted, strict=True)}
    return RateChanges(of_cells, _common(common, math.log(least)))


def _seen(
    before: Results, after: Results, pairs: Sequence[tuple[CellMetrics, CellMetrics]], load: LoadPoint
) -> tuple[dict[str, _Seen], dict[str, _Seen], dict[str, RateChange]]:
    """By keys of later trials: rates of rounds, those of one server each, and those whose own errors are unknown."""
    old, new = _rounds(before, load), _rounds(after, load)
    by_rounds, by_servers, unknown = dict[str, _Seen](), dict[str, _Seen](), dict[str, RateChange]()
    for was, now in pairs:
        speeds = [speed for trial in (was.trial, now.trial) for speed in trial.speed if speed.load == load]
        if len(speeds) < 2 or was.trial.device != now.trial.device or speeds[0] == speeds[1]:
            continue
        key, (rate, rate_now) = now.trial.key, [load_metrics(speed).output_rate for speed in speeds]
        if old and new and was.trial.key in old.fitted.keys and key in new.fitted.keys:
            by_rounds[key] = _by_rounds(old, was.trial.key, new, key)
        elif all(0 < side.low <= side.high < math.inf for side in (rate, rate_now)):
            by_servers[key] = _by_repeats(rate, rate_now)
        else:
            unknown[key] = RateChange(ratio_of_means(rate_now, rate))
    return by_rounds, by_servers, unknown


def _judged(
    rates: Sequence[_Seen], prior: NoisePrior, unchanged: Flags, least: float
) -> tuple[list[RateChange], Changes]:
    """Each of these rates of one load, and what all of them have in common."""
    values, own, apart, degrees, of_rounds, round_degrees = np.asarray([astuple(rate) for rate in rates]).T
    seen = Changes(values, apart, degrees).with_error(of_rounds, round_degrees)
    together = common_change(values, own, np.ones(len(rates), dtype=bool), prior)
    errors = 0.0 if of_rounds.any() else together.errors  # else those of the rounds hold them
    freedom = round_degrees.mean() if of_rounds.any() else degrees.mean()
    shared = Changes(together.values, of_rounds.mean() + errors / together.worth, freedom)
    of_all = shared.with_error(together.between / together.worth, together.degrees)
    if len(rates) == 1:
        slower = values < least
        alone = seen.with_error(together.between, together.degrees)
        p = np.where(
            slower, alone.with_error(OF_A_RUN.variance, OF_A_RUN.degrees).p_values(least), alone.p_values(least)
        )
        return [RateChange(_estimate(seen, 0), None, bool(slower[0]), float(p[0]))], of_all
    others = of_others(values, own, unchanged, prior)
    relative = relative_changes(Changes(values, own, degrees), others)
    both = [not np.delete(unchanged, place).any() for place in range(len(rates))]
    absolute = seen.with_error(others.between, others.degrees)
    p = p_of_verdicts(relative, absolute, least, np.asarray(both))
    return [
        RateChange(
            _estimate(seen, place), _estimate(relative, place), bool(relative.values[place] < least), float(p[place])
        )
        for place in range(len(rates))
    ], of_all


def _common(groups: Sequence[tuple[int, Changes]], least: float) -> CommonChange | None:
    """Of the groups of all loads, weighted alike; they share what the machine did, so that more of them make nothing
    surer.
    """
    if max((count for count, _ in groups), default=0) < 2:
        return None
    columns = [(group.values, group.variances, group.degrees) for _, group in groups]
    values, variances, degrees = (np.asarray([column]) for column in zip(*columns, strict=True))
    seen = Changes(values.mean(axis=-1), variances.mean(axis=-1), degrees.min(axis=-1))
    with_machine = seen.with_error(OF_A_RUN.variance, OF_A_RUN.degrees)
    return CommonChange(
        sum(count for count, _ in groups),
        _estimate(seen, 0),
        float(seen.p_values(least)[0]),
        _estimate(with_machine, 0),
        float(with_machine.p_values(least)[0]),
    )


def _estimate(changes: Changes, place: int) -> Estimate:
    """Of one change, as a ratio with its 95 % interval."""
    value, freedom = float(changes.values[place]), max(int(min(float(changes.degrees[place]), 1e9)), 1)
    half = t_quantile(freedom) * math.sqrt(float(changes.variances[place]))
    return Estimate(math.exp(value), math.exp(value - half), math.exp(value + half), freedom + 1)


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
    disturbed = {key: disturbed_blocks(trial) for key, (trial, _) in speeds.items()}
    fitted = fit_figure(values, disturbed=disturbed)
    if fitted is None:
        return None
    means = dict(zip(fitted.keys, fitted.fit.means.tolist(), strict=True))
    shared: dict[object, list[float]] = {}
    for key in fitted.keys:
        for block, rate in values[key].items():
            if block in disturbed[key]:
                continue
            shared.setdefault(block, []).append(math.log(rate) - means[key])
    if len(shared) < 2:
        return None
    of_rounds = [float(np.mean(offsets)) for offsets in shared.values()]
    sizes = np.asarray([len(offsets) for offsets in shared.values()])
    worth, each = float(sizes.sum() ** 2 / (sizes**2).sum()), float(1 / np.mean(1 / sizes))
    return _Rounds(fitted, len(shared), worth, float(np.var(of_rounds, ddof=1)), each)


def _by_rounds(old: _Rounds, old_key: str, new: _Rounds, new_key: str) -> _Seen:
    sides = ((old, old_key), (new, new_key))
    round_degrees, error_degrees = sum(side.count - 1 for side, _ in sides), sum(side.degrees for side, _ in sides)
    rounds = sum((side.count - 1) * side.variance for side, _ in sides) / round_degrees
    errors = sum(side.degrees * float(side.fitted.fit.scale) ** 2 for side, _ in sides) / max(error_degrees, 1.0)
    means = [float(side.fitted.fit.means[side.fitted.keys.index(key)]) for side, key in sides]
    own, apart = (errors * sum(side.error_share(key, shared=shared) for side, key in sides) for shared in (False, True))
    from_rounds = rounds * sum(1 / side.worth for side, _ in sides)
    return _Seen(means[1] - means[0], own, apart, max(error_degrees, 1.0), from_rounds, round_degrees)


def _by_repeats(was: Estimate, now: Estimate) -> _Seen:
    """Of two geometric means with intervals of their own (Welch, Biometrika 34, 1947)."""
    freedom = [max(rate.count - 1, 1) for rate in (was, now)]
    variances = [
        (math.log(rate.high / rate.low) / 2 / t_quantile(degrees)) ** 2
        for rate, degrees in zip((was, now), freedom, strict=True)
    ]
    first = Changes(np.zeros(()), np.asarray(variances[0]), np.asarray(float(freedom[0])))
    both = first.with_error(variances[1], freedom[1])
    own = float(both.variances)
    return _Seen(math.log(now.value / was.value), own, own, float(both.degrees))
