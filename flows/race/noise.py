"""What races have taught of a machine's noise, in the cache folder: a file for each machine and set of engines.

Each race adds what its own visits say, once; the next one begins with what all together say.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from engines.runtime.cache import cache_folder
from engines.telemetry.machine import this_machine
from evals.rounds.block_model import NoisePrior, learnt_noise
from evals.schema.race_file import LearntNoise
from evals.schema.trial import Trial
from flows.execute.prepared import Prepared
from quant.canonical_json import write_json
from quant.hashing import digest
from reports.rounds.speeds import noise_name, speed_models

logger = logging.getLogger(__name__)

TAUGHT = TypeAdapter(dict[str, dict[str, LearntNoise]])  # by race, then by figure and load


def noise_file(prepared: Prepared) -> Path:
    """Of this machine, and of the engines that the plan times, whose noises differ."""
    engines = sorted({row.cell.choice.engine.name for row in prepared.rows if row.parts})
    machine = this_machine(prepared.sweep.device.kind).described()
    return cache_folder() / "noise" / f"{digest([machine, engines])[:32]}.json"


def learnt(prepared: Prepared) -> dict[str, LearntNoise]:
    """What earlier races say, without this one."""
    races = [taught for race, taught in _read(noise_file(prepared)).items() if race != _race(prepared)]
    known = {}
    for name in {name for taught in races for name in taught}:
        pooled = learnt_noise([NoisePrior(t[name].variance, t[name].degrees) for t in races if name in t])
        known[name] = LearntNoise(float(pooled.variance), float(pooled.degrees))
    return known


def teach(prepared: Prepared, trials: Iterable[Trial]) -> None:
    """Keep what this race's own visits say of the noise, in place of what it said before."""
    file = noise_file(prepared)
    noise = {
        noise_name(name, load): LearntNoise(float(fitted.fit.scale) ** 2, float(fitted.fit.degrees))
        for load, figures in speed_models(list(trials)).items()
        for name, fitted in figures.items()
    }
    if noise:
        file.parent.mkdir(parents=True, exist_ok=True)
        races = {**_read(file), _race(prepared): noise}
        write_json(file, {race: {name: asdict(of) for name, of in taught.items()} for race, taught in races.items()})


def _race(prepared: Prepared) -> str:
    """Which race it is: other cells or loads make another one, and so does another folder."""
    return digest([str(prepared.folder.resolve()), *sorted(row.key for row in prepared.rows)])[:32]


def _read(file: Path) -> dict[str, dict[str, LearntNoise]]:
    """Nothing where there is none, or it is damaged."""
    try:
        return TAUGHT.validate_python(json.loads(file.read_bytes()), strict=False)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, ValidationError) as error:
        logger.warning("%s is damaged: what earlier races taught of this machine's noise is not used (%s)", file, error)
        return {}
