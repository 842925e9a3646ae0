"""One number held against an earlier one, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from evals.stats.intervals import Estimate

State = Literal["PASS", "REGRESSION", "INCONCLUSIVE", "NOT COMPARED"]


@dataclass(frozen=True)
class Check:
    """One number of a cell, after against before."""

    figure: str
    state: State
    text: str


def worst(checks: Sequence[Check]) -> State:
    """Of all of them."""
    order: tuple[State, ...] = ("REGRESSION", "INCONCLUSIVE", "PASS")
    return next((state for state in order if any(check.state == state for check in checks)), "NOT COMPARED")


def side(ratio: Estimate, least: float) -> State:
    """Whether an interval lies wholly above what it may be at least."""
    return "PASS" if ratio.low >= least else "REGRESSION" if ratio.high < least else "INCONCLUSIVE"


def shown(estimate: Estimate) -> str:
    """`value [low, high]` in three digits."""
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"
