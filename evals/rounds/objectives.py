"""A race for several things at once: who may leave it.

A cell is visited as long as it may be the best by one of the objectives, or may be on one of the frontiers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evals.rounds.block_model import NOTHING_KNOWN, BlockFit, Flags, NoisePrior, fit_blocks
from evals.rounds.posterior import on_frontier
from evals.rounds.race import RaceRules, Standing, judge
from evals.stats.intervals import Floats

LEAST_ON_FRONTIER = 0.05  # cells that are on it with less are drawn as dominated too


@dataclass(frozen=True)
class Objective:
    """A figure that is to be best: a table of its logarithms (cells, blocks), whether less of it is better, and what is
    known of its noise.
    """

    logs: Floats
    less_is_better: bool = False
    noise: NoisePrior = NOTHING_KNOWN

    def fit(self) -> BlockFit:
        """The model of it, turned so that larger values are better."""
        return fit_blocks(-self.logs if self.less_is_better else self.logs, self.noise)


@dataclass(frozen=True)
class Look:
    """What one look at all objectives says: the standing in each, by its name, and the cells that are visited again."""

    standings: Mapping[str, Standing]
    staying: Flags

    @property
    def over(self) -> bool:
        """True where every objective has its winner or its equals."""
        return all(bool(standing.over) for standing in self.standings.values())


def look_at(
    objectives: Mapping[str, Objective],
    contenders: Mapping[str, Flags],
    rules: RaceRules,
    frontiers: Sequence[Sequence[Floats]] = (),
) -> Look:
    """Judge each objective among its own `contenders` (all cells at the first look, those of the last one's standing
    later). `frontiers` are draws of their axes, each (draws, cells), larger values better: `posterior.mean_draws` of a
    fit, or what the caller knows of quality.
    """
    standings = {name: judge(objective.fit(), contenders[name], rules) for name, objective in objectives.items()}
    # one objective that is settled asks for no more visits; its cells stay for the others alone
    wanted = [standing.contenders for standing in standings.values() if not standing.over]
    wanted += [on_frontier(axes) >= LEAST_ON_FRONTIER for axes in frontiers]
    if not wanted:
        wanted = [standing.contenders for standing in standings.values()]
    return Look(standings, np.logical_or.reduce(wanted))
