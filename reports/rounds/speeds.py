"""Figures of cells that were measured in rounds, from one model of all their visits (`evals.rounds.block_model`).

What made the whole machine slower for a while is a round's, and cells are compared within rounds; errors have one
variance for all cells, so that few rounds leave many degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from engines.telemetry.disturbance import Disturbance
from evals.metrics.energy import visit_energy
from evals.rounds.block_model import (
    NOTHING_KNOWN,
    BlockFit,
    NoisePrior,
    NotEstimable,
    fit_blocks,
    table,
    without_disturbed,
)
from evals.schema.load import LoadPoint, Speed
from evals.schema.race_file import LearntNoise
from evals.schema.trial import Trial
from evals.stats.intervals import Estimate, t_quantile
from quant.hashing import digest
from reports.metrics.cell import CellMetrics
from reports.metrics.load import LoadMetrics, visit_medians, visit_rates

Block = tuple[int, str, str]  # round, host, session
RATES = ("output rate", "total rate", "request rate")
JOULES = "joules a token"


@dataclass(frozen=True)
class Fitted:
    """One figure of one load: the model, and the keys of the trials that its cells are of, in its order."""

    keys: tuple[str, ...]
    fit: BlockFit


def figures_by_round(speed: Speed) -> dict[str, dict[int, float]]:
    """Of each rate (per second), each median latency (seconds) and the joules a token, by name: its value in each visit
    that has it above zero.
    """
    figures: dict[str, dict[int, float]] = {}
    for number, repeats in speed.visits().items():
        visit = speed.of_round(number)
        values = {**dict(zip(RATES, visit_rates(repeats), strict=True)), **visit_medians(visit)}
        drawn = visit_energy(visit)
        if drawn.joules is not None and drawn.output_tokens:
            values[JOULES] = drawn.joules / drawn.output_tokens
        for name, value in values.items():
            if value > 0:
                figures.setdefault(name, {})[number] = value
    return figures


def in_rounds(speed: Speed) -> bool:
    return len(set(speed.rounds)) > 1


def noise_name(figure: str, load: LoadPoint) -> str:
    """By which noise that was learnt is known."""
    return f"{figure}, {load.label}, {load.sizes} tokens, {digest(load)[:8]}"  # loads may share label and sizes


@dataclass(frozen=True)
class VisitFacts:
    """What a trial says of a later visit of it."""

    round: int = 0
    host: str = ""
    session: str = ""
    seconds: float = 0.0
    startup_seconds: float | None = None
    attempts: int = 1
    all_attempts_seconds: float | None = None
    disturbed: tuple[str, ...] = ()
    sentinel: Mapping[str, float] = field(default_factory=dict)

    @property
    def block(self) -> Block:
        return self.round, self.host, self.session

    @property
    def took_seconds(self) -> float:
        """With its starts, and the attempts that do not count."""
        return self.all_attempts_seconds or self.seconds + (self.startup_seconds or 0.0)


VISITS = TypeAdapter(tuple[VisitFacts, ...])
OTHERS = TypeAdapter(list[Disturbance])
NONE_DISTURBED: Mapping[str, set[Block]] = {}


def visits_of(trial: Trial) -> tuple[VisitFacts, ...]:
    """None where somebody else's trial says something else there."""
    try:
        return VISITS.validate_python(trial.provenance.get("visits", ()), strict=False)
    except ValidationError:
        return ()


def blocks_of(trial: Trial) -> dict[int, Block]:
    """By round: what else was visited in it on the same host by the same process is comparable; a cell that was visited
    an hour later, or on another machine, is not. Runs of older programs do not say, nor do planted ones.
    """
    first = trial.provenance.get("measured")
    origin = first if isinstance(first, Mapping) else {}
    blocks = {1: (1, str(origin.get("host", "")), str(origin.get("session", "")))}
    return blocks | {visit.round: visit.block for visit in visits_of(trial)}


def disturbed_blocks(trial: Trial) -> set[Block]:
    """Those of visits that others on the machine disturbed, the repeated ones to the last attempt."""
    first = {blocks_of(trial)[1]} if _is_first_disturbed(trial) else set()
    return first | {visit.block for visit in visits_of(trial) if visit.disturbed}


def _is_first_disturbed(trial: Trial) -> bool:
    """Whether others did much while a load of the first visit was timed, which is not repeated. False where somebody
    else's trial says something else there.
    """
    parts = trial.provenance.get("parts")
    measured = parts.values() if isinstance(parts, Mapping) else ()
    others = [part["others"] for part in measured if isinstance(part, Mapping) and part.get("others")]
    try:
        return any(other.reasons for other in OTHERS.validate_python(others))
    except ValidationError:
        return False


def fit_figure(
    values: Mapping[str, Mapping[Block, float]],
    prior: NoisePrior = NOTHING_KNOWN,
    disturbed: Mapping[str, set[Block]] = NONE_DISTURBED,
) -> Fitted | None:
    """The model of one figure of one load: by trials' keys, its value in each block. Visits in `disturbed` blocks are
    left out as far as others say enough. None where too few visits say anything of their spread, or some cell was in no
    block with the others, directly or by way of third ones.
    """
    keys = tuple(key for key in values if values[key])
    blocks = {block: place for place, block in enumerate(sorted({block for key in keys for block in values[key]}))}
    visits = [(place, blocks[block], value) for place, key in enumerate(keys) for block, value in values[key].items()]
    if not visits:
        return None
    beside = np.array([[block in disturbed.get(key, ()) for block in blocks] for key in keys])
    try:
        return Fitted(keys, fit_blocks(without_disturbed(table(visits, len(keys)), beside), prior))
    except NotEstimable:
        return None


def speed_models(
    trials: Sequence[Trial], learnt: Mapping[str, LearntNoise] | None = None
) -> dict[LoadPoint, dict[str, Fitted]]:
    """Of each load that some cell was measured under in rounds: the model of each figure, by its name. A control counts
    as a cell: it says as much of the noise. `learnt` is that of earlier races.
    """
    speeds: dict[LoadPoint, dict[str, Speed]] = {}
    blocks = {trial.key: blocks_of(trial) for trial in trials}
    disturbed = {trial.key: disturbed_blocks(trial) for trial in trials}
    for trial in trials:
        for speed in trial.speed:
            speeds.setdefault(speed.load, {})[trial.key] = speed
    models: dict[LoadPoint, dict[str, Fitted]] = {}
    for load, of_cells in speeds.items():
        if not any(map(in_rounds, of_cells.values())):
            continue
        figures = {key: figures_by_round(speed) for key, speed in of_cells.items()}
        for name in dict.fromkeys(name for of_cell in figures.values() for name in of_cell):
            noise = (learnt or {}).get(noise_name(name, load))
            prior = NoisePrior(noise.variance, noise.degrees) if noise else NOTHING_KNOWN
            values = {
                key: {blocks[key].get(n, (n, "", "")): value for n, value in of_cell.get(name, {}).items()}
                for key, of_cell in figures.items()
            }
            fitted = fit_figure(values, prior, disturbed)
            if fitted is not None:
                models.setdefault(load, {})[name] = fitted
    return models


def estimates(fitted: Fitted) -> dict[str, Estimate]:
    """The geometric mean of each cell with its interval, by keys of trials. What all cells of a round have in common is
    in none of them: they are for comparing cells of one race. `count` is one more than the degrees of freedom.
    """
    fit = fitted.fit
    freedom = int(fit.degrees)
    half = t_quantile(freedom) * fit.scale * np.sqrt(np.diag(fit.unscaled))
    return {
        key: Estimate(math.exp(mean), math.exp(mean - by), math.exp(mean + by), freedom + 1)
        for key, mean, by in zip(fitted.keys, fit.means.tolist(), half.tolist(), strict=True)
    }


def with_models(
    cells: Sequence[CellMetrics], models: Mapping[LoadPoint, Mapping[str, Fitted]]
) -> tuple[CellMetrics, ...]:
    """The cells with the models' figures in place of those of their own visits alone. Percentiles stay those of the
    requests: each would get a round's effect of its own, and a 99th could come out below the 95th.
    """
    known = {load: {name: estimates(fitted) for name, fitted in figures.items()} for load, figures in models.items()}
    return tuple(
        replace(cell, loads=tuple(_with_model(load, cell.trial.key, known.get(load.load, {})) for load in cell.loads))
        for cell in cells
    )


def _with_model(load: LoadMetrics, key: str, known: Mapping[str, Mapping[str, Estimate]]) -> LoadMetrics:
    def figure(name: str, otherwise: Any) -> Any:
        return known.get(name, {}).get(key, otherwise)

    return replace(
        load,
        output_rate=figure("output rate", load.output_rate),
        total_rate=figure("total rate", load.total_rate),
        request_rate=figure("request rate", load.request_rate),
        compared_e2e=figure("e2e 50", load.compared_e2e),
    )
