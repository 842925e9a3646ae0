"""Energy of every load point on GPUs, and what they told of clock and heat meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evals.metrics.energy import during, energy, slow_downs, visit_energy
from evals.schema.load import GpuSamples, LoadPoint, Speed
from evals.schema.trial import NVML, Trial
from evals.stats.intervals import Estimate, mean_t
from reports.metrics.cell import CellMetrics
from reports.rounds.speeds import JOULES, Fitted, estimates, in_rounds


@dataclass(frozen=True)
class EnergyUse:
    """One load point of one cell, over all its GPUs; what is not known is None.

    `joules_per_token` of output, prompts included, and `watts` are means over the repeats whose energy is known, with a
    t interval; in a race over the visits, the former by the model of all cells' visits. `why` tells of the others.
    `sm_megahertz` are the median and the lowest clock while the load ran, `celsius` is the highest temperature,
    `slowed` are the reasons for which a GPU was slowed down.
    """

    name: str
    model: str
    load: LoadPoint
    gpus: tuple[int, ...]
    joules_per_token: Estimate | None
    watts: Estimate | None
    sm_megahertz: tuple[float, float] | None
    celsius: float | None
    slowed: tuple[str, ...]
    why: tuple[str, ...]


def energies(
    cells: Sequence[CellMetrics], models: Mapping[LoadPoint, Mapping[str, Fitted]] | None = None
) -> list[EnergyUse]:
    """Every load point of every cell that ran on a GPU; `models` are those of loads that were measured in rounds."""
    usages = []
    for cell in cells:
        memory = cell.trial.memory
        for speed in cell.trial.speed:
            if speed.gpus or (memory is not None and memory.source == NVML):
                usages.append(_use(cell.trial, speed, (models or {}).get(speed.load, {}).get(JOULES)))
    return usages


def _use(trial: Trial, speed: Speed, fitted: Fitted | None) -> EnergyUse:
    gpus: Sequence[tuple[GpuSamples, ...]] = speed.gpus or [()] * len(speed.repeats)
    usages = [energy(*pair) for pair in zip(speed.repeats, gpus, strict=True)]
    units = [visit_energy(speed.of_round(number)) for number in speed.visits()] if in_rounds(speed) else usages
    known = [(usage, usage.joules) for usage in units if usage.joules is not None]
    alone = mean_t([joules / usage.output_tokens for usage, joules in known]) if known else None
    pairs = [(repeat, samples) for repeat, group in zip(speed.repeats, gpus, strict=True) for samples in group]
    clocks = [value for repeat, samples in pairs for value in during(repeat, samples, samples.sm_megahertz)]
    heat = [value for repeat, samples in pairs for value in during(repeat, samples, samples.celsius)]
    return EnergyUse(
        name=trial.name,
        model=trial.model,
        load=speed.load,
        gpus=tuple(sorted({samples.gpu for group in speed.gpus for samples in group})),
        joules_per_token=estimates(fitted).get(trial.key, alone) if fitted else alone,
        watts=mean_t([joules / usage.seconds for usage, joules in known]) if known else None,
        sm_megahertz=(float(np.median(clocks)), min(clocks)) if clocks else None,
        celsius=max(heat, default=None),
        slowed=tuple(slow_downs(speed)),
        why=_reasons([usage.why for usage in usages]),
    )


def _reasons(reasons: Sequence[str]) -> tuple[str, ...]:
    """Each reason once, with the repeats that it holds for."""
    repeats_by_reason = {
        reason: [str(number) for number, other in enumerate(reasons, 1) if other == reason]
        for reason in reasons
        if reason
    }
    return tuple(
        f"repeat{'s' if len(repeats) > 1 else ''} {', '.join(repeats)}: {reason}"
        for reason, repeats in repeats_by_reason.items()
    )
