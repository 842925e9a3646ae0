"""What races have taught of a machine's noise, in the cache folder: a file for each machine and set of engines.

Each visit counts once: a race replaces what was learnt from any visit of its own before, so that a sweep that goes on,
with more cells or out of a copied folder, teaches nothing twice. The next race begins with what all together say.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from engines.runtime.cache import cache_folder
from engines.telemetry.machine import this_machine
from evals.rounds.block_model import NoisePrior, learnt_noise
from evals.schema.race_file import LearntNoise
from evals.schema.trial import Trial
from flows.execute.prepared import Prepared
from flows.state.locks import hold
from quant.canonical_json import READ_LATER, read_regular, write_json
from quant.hashing import digest
from reports.rounds.speeds import blocks_of, noise_name, speed_models

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Taught:
    """What one race said: by which `visits` (digests), and the `noise` by figure and load."""

    visits: tuple[str, ...]
    noise: Mapping[str, LearntNoise]


TAUGHT = TypeAdapter(tuple[Taught, ...])


def noise_file(prepared: Prepared) -> Path:
    """Of this machine, and of the engines that the plan times, whose noises differ."""
    engines = sorted({row.cell.choice.engine.name for row in prepared.rows if row.parts})
    machine = this_machine(prepared.sweep.device.kind).described()
    return cache_folder() / "noise" / f"{digest([machine, engines])[:32]}.json"


def learnt(prepared: Prepared, trials: Iterable[Trial]) -> dict[str, LearntNoise]:
    """What earlier races say: none of the visits of these trials."""
    file, known = noise_file(prepared), {}
    try:
        races = _read(file, _visits(trials))
    except OSError as error:
        logger.warning("%s cannot be read now (%s): the noise of earlier races is not used", file, error.strerror)
        return {}
    for name in {name for race in races for name in race.noise}:
        of_races = [race.noise[name] for race in races if name in race.noise]
        pooled = learnt_noise([NoisePrior(noise.variance, noise.degrees) for noise in of_races])
        known[name] = LearntNoise(float(pooled.variance), float(pooled.degrees))
    return known


def teach(prepared: Prepared, trials: Sequence[Trial]) -> None:
    """Keep what this race's own visits say of the noise, in place of what any of them said before."""
    file = noise_file(prepared)
    noise = {
        noise_name(name, load): LearntNoise(float(fitted.fit.scale) ** 2, float(fitted.fit.degrees))
        for load, figures in speed_models(trials).items()
        for name, fitted in figures.items()
    }
    if not noise:
        return
    visits = _visits(trials)
    with hold(file.with_suffix(".lock")):  # another race may teach at the same time
        try:
            races = [*_read(file, visits), Taught(tuple(sorted(visits)), noise)]
        except OSError as error:
            logger.warning("%s cannot be read now (%s): the noise of this race is not recorded", file, error.strerror)
            return
        write_json(file, [asdict(race) for race in races])


def _visits(trials: Iterable[Trial]) -> frozenset[str]:
    """Of cells by their names: a key changes with a load that is added, and a visit is what it was."""
    return frozenset(
        digest([trial.model, trial.name, *block])[:16] for trial in trials for block in blocks_of(trial).values()
    )


def _read(file: Path, visits: frozenset[str]) -> list[Taught]:
    """The races that share none of these visits; nothing where there is no file, or it is damaged. Raises OSError where
    it may be whole, and cannot be read now.
    """
    try:
        races = TAUGHT.validate_python(json.loads(read_regular(file)), strict=False)
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:  # pydantic's errors are ValueErrors
        if isinstance(error, OSError) and error.errno in READ_LATER:
            raise
        logger.warning(
            "%s is damaged, or from an older version: the noise of earlier races is not used (%s)", file, error
        )
        return []
    return [race for race in races if visits.isdisjoint(race.visits)]
