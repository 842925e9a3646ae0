"""Where each cell stands in a race after some rounds: for which objectives it may still be the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from evals.rounds.race import RaceRules, judge, most_telling
from evals.schema.load import LoadPoint
from evals.schema.race_file import RaceState
from reports.rounds.speeds import Fitted

Verdict = Literal["winner", "equal", "undecided"]


@dataclass(frozen=True)
class Objective:
    """One figure of one load that a user may want to be best: `less` where a smaller value is."""

    title: str
    load: LoadPoint
    figure: str
    less: bool


@dataclass(frozen=True)
class ObjectiveStanding:
    """Keys of the trials that may be the best, and whether that is decided. `telling` are those of them whose next
    visits decide most: the first one and its nearest rival.
    """

    may_be_best: frozenset[str]
    verdict: Verdict
    telling: frozenset[str] = frozenset()


def objectives(loads: Sequence[LoadPoint]) -> list[Objective]:
    """Throughput of each load, where requests are not sent at a given rate, and its median end-to-end latency."""
    wanted: list[Objective] = []
    for load in loads:
        name = f"{load.label}, {load.sizes} tokens"
        if alike := sum(f"{other.label}, {other.sizes} tokens" == name for other in loads[: loads.index(load)]):
            name = f"{name} ({alike + 1})"
        if load.concurrency is not None:
            wanted.append(Objective(f"output tokens/s at {name}", load, "output rate", less=False))
        wanted.append(Objective(f"median end-to-end latency at {name}", load, "e2e 50", less=True))
    return wanted


def race_rules(race: RaceState) -> RaceRules:
    """By what its looks are taken."""
    return RaceRules(race.rules.rounds, race.rules.gap, race.rules.alpha)


def stand(
    objective: Objective, models: Mapping[LoadPoint, Mapping[str, Fitted]], contenders: frozenset[str], rules: RaceRules
) -> ObjectiveStanding | None:
    """One look at an objective among these cells (keys of trials); None where there is no model of it, or no cell."""
    fitted = models.get(objective.load, {}).get(objective.figure)
    if fitted is None or not contenders & {*fitted.keys}:
        return None
    sign = -1.0 if objective.less else 1.0
    racing = np.asarray([key in contenders for key in fitted.keys])
    fit = replace(fitted.fit, means=sign * fitted.fit.means)
    standing = judge(fit, racing, rules)
    verdict: Verdict = "winner" if standing.winner else "equal" if standing.equal else "undecided"
    best, telling = (
        frozenset(key for key, flag in zip(fitted.keys, flags.tolist(), strict=True) if flag)
        for flags in (standing.contenders, most_telling(fit, standing.contenders))
    )
    return ObjectiveStanding(best, verdict, telling)
