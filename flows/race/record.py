"""What became of a race, in `race.json` of the run's folder: for reports and for people. A race goes on from its
visits, not from this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from quant.canonical_json import finite, write_json

Ending = Literal["winner", "equal", "rounds", "minutes", "no contenders"]
RACE_FILE = "race.json"


@dataclass(frozen=True)
class Left:
    """A cell that is timed no more: its trial's key and name, after which round, and why."""

    key: str
    name: str
    model: str
    after_round: int
    why: str


@dataclass(frozen=True)
class RaceState:
    """After `number` rounds: who has left, and how it has ended, if it has. `orders` are the names of the cells of each
    later round, as they were visited; `contenders` the keys of those that may still be the best, by objective.
    """

    number: int = 1
    left: tuple[Left, ...] = ()
    ended: Ending | None = None
    orders: tuple[tuple[str, ...], ...] = ()
    contenders: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def gone(self) -> frozenset[str]:
        """Keys of the cells that have left."""
        return frozenset(cell.key for cell in self.left)


def write_state(folder: Path, rules: dict[str, Any], state: RaceState, control: str | None) -> None:
    """`control` is the file of the control's trial."""
    described = {
        "rules": rules,
        "rounds": state.number,
        "ended": state.ended,
        "left": [cell.__dict__ for cell in state.left],
        "orders": [list(order) for order in state.orders],
        "may_be_best": {title: sorted(keys) for title, keys in state.contenders.items()},
        "control": control,
    }
    write_json(folder / RACE_FILE, finite(described))
