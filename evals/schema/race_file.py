"""What became of a race, `race.json` in a run's folder: who left when and why, and how it ended.

Reports show it; a race goes on from its finished visits, not from this file.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from quant.canonical_json import finite, read_regular, write_json
from quant.errors import program
from quant.hashing import digest

logger = logging.getLogger(__name__)

Ending = Literal["winner", "equal", "rounds", "minutes", "no contenders"]
ENDINGS: Mapping[Ending | None, str] = {
    "winner": "the race found a winner",
    "equal": "the fastest cells are equal in speed within {gap:.3g} %; the one with the best quality is chosen",
    "rounds": "all rounds of the plan were run, and more than one cell may still be the fastest",
    "minutes": "the `minutes` of its plan are used up, and more than one cell may still be the fastest",
    "no contenders": "no cell is left in it",
    None: "it was interrupted; run `{program} sweep` with its plan again to go on",
}
RACE_FILE = "race.json"
MOST_ROUNDS = 100
MOST_VARIANCE = 100.0  # of logarithms


@dataclass(frozen=True)
class Rules:
    """Of the plan: at most so many `rounds`; speeds within a share of `gap` are equal; `alpha` is how often of two
    equally fast cells one is named the winner.
    """

    rounds: Annotated[int, Field(ge=3, le=MOST_ROUNDS)]
    gap: Annotated[float, Field(gt=0, lt=0.5)]
    alpha: Annotated[float, Field(gt=0, lt=0.5)]


@dataclass(frozen=True)
class Left:
    """A cell that is timed no more: its trial's key and name, after which round, and why. `failed`: a later visit of it
    could not be measured, so that it may win nothing.
    """

    key: str
    name: str
    model: str
    after_round: int
    why: str
    failed: bool = False


@dataclass(frozen=True)
class LearntNoise:
    """Of the visits of earlier races on this machine, in the same engines: the variance of a visit's logarithm, known
    with so many degrees of freedom.
    """

    variance: Annotated[float, Field(ge=0, le=MOST_VARIANCE)]
    degrees: Annotated[float, Field(ge=0, le=1e6)]


@dataclass(frozen=True)
class RaceState:
    """After `number` rounds: who has left, and how it has ended, if it has. `orders` are the names of the cells of each
    later round, as they were visited; `contenders` the keys of those that may still be the best, by objective, of all
    that were `raced` for it (a cell may come to it later, when it is known to keep a limit), and
    `telling` of those whose next visits decide most: where time is short, they alone are visited (empty: all are).
    `equal` are the keys of those that are equal in speed within the gap, where it ended so; `control` is the file of
    the control's trial. `noise` was learnt before it, by figure and load. `of` is a digest of the plan and its cells:
    what another one has to say is decided anew, from the visits that are finished.
    """

    rules: Rules
    number: int = 1
    left: tuple[Left, ...] = ()
    ended: Ending | None = None
    orders: tuple[tuple[str, ...], ...] = ()
    contenders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    equal: tuple[str, ...] = ()
    control: Annotated[str, Field(pattern=r"^control-[0-9a-f]{12}\.json$")] | None = None
    noise: Mapping[str, LearntNoise] = field(default_factory=dict)
    of: str = ""
    telling: tuple[str, ...] = ()
    raced: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def gone(self) -> frozenset[str]:
        """Keys of the cells that have left."""
        return frozenset(cell.key for cell in self.left)

    @property
    def ending(self) -> str:
        """How it has ended, or that it has not, as the end of a sentence."""
        return ENDINGS[self.ended].format(gap=100 * self.rules.gap, program=program())

    def leaving(self, cell: Left) -> RaceState:
        return replace(self, left=(*self.left, cell))


def control_key(key: str) -> str:
    """Of the control of the cell whose trial has this key."""
    return digest([key, "control"])


STATES = TypeAdapter(RaceState)


def write_race(folder: Path, state: RaceState) -> None:
    write_json(folder / RACE_FILE, finite(asdict(state)))


def read_race(folder: Path) -> RaceState | None:
    """None where there was none, or its file is damaged, which is warned of: the visits are in the trials."""
    file = folder / RACE_FILE
    try:
        return STATES.validate_python(json.loads(read_regular(file)), strict=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ValidationError, RecursionError) as error:
        logger.warning("%s is damaged: the report does not say who left the race (%s)", file, error)
        return None
