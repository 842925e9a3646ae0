"""The key `race` of a plan: speed in rounds, until the fastest is known."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evals.schema.race_file import MOST_ROUNDS
from flows.plan.base import MOST, Part


class RacePlan(Part):
    """Speed is measured in `rounds`: each visits every cell that may still win, in random order, in a fresh server.

    From the third round on, cells that cannot be the best any more leave. The race ends with a winner, with cells whose
    speeds differ by less than `gap` (0.03: 3 %), or after its `rounds` or `minutes` of later visits; with
    `minutes`, rounds after the third visit the first cell and its nearest rival alone. Of two cells that are equally
    fast, one is named the winner in `alpha` of races at most; a slower cell is in α/2. `control` visits the first
    baseline twice in each later round, under two names: how far the two differ is this machine's noise.
    """

    rounds: Annotated[int, Field(ge=3, le=MOST_ROUNDS)] = 6
    gap: Annotated[float, Field(gt=0, lt=0.5)] = 0.03
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    minutes: Annotated[float, Field(gt=0, le=MOST)] | None = None
    control: bool = True
