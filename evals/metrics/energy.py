"""What a repeat of a load cost in energy, and whether its GPUs were slowed down meanwhile.

NVML's energy counter goes by what a GPU draws, and is renewed every 0.1 s (on an H100). Its power is, since Ampere,
the mean of the last second (NVML API reference, `nvmlDeviceGetPowerUsage`), so that it lags: on an H100 the area under
the power of a load of 1.8 s that began on an idle GPU was 20 % below the counter, and the one under the power a second
later equal to it. So the counter is what is believed. GPUs before Volta have none: their power is that of the moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engines.telemetry.gpu import SLOW_DOWNS, Reading
from evals.schema.load import GpuSamples, Request, Speed
from evals.stats.intervals import Floats
from quant.errors import BitfrontierError

AROUND_SECONDS = 1.0  # samples that are kept before and after a repeat
MOST_GAP_SECONDS = 1.0
LEAST_SAMPLES = 10
MOST_DISAGREEMENT = 0.25  # of counter and power: a mean of the last second loses some 15 % of a load of 1.2 s
LAGS = (0.0, 0.25, 0.5, 0.75, 1.0)  # seconds by which power may be late


class NotKnown(BitfrontierError):
    """The energy of a repeat cannot be told from its samples; the message says why."""


@dataclass(frozen=True)
class Energy:
    """One repeat: `joules` that its GPUs drew in its `seconds`, what runs idle included; None where that is not known,
    and `why`. The host's are not in it.
    """

    joules: float | None
    seconds: float
    output_tokens: int
    why: str = ""


def with_gpus(speed: Speed, readings: Sequence[Reading]) -> Speed:
    """The speed with what its GPUs told around each repeat; unchanged where they told nothing."""
    if not readings:
        return speed
    origins = [client.origin_seconds for client in speed.clients]
    pairs = zip(speed.repeats, origins, strict=True)
    return replace(speed, gpus=tuple(_around(repeat, origin, readings) for repeat, origin in pairs))


def _around(repeat: Sequence[Request], origin: float | None, readings: Sequence[Reading]) -> tuple[GpuSamples, ...]:
    if origin is None:
        return ()
    start, end = window(repeat)
    low, high = origin + start - AROUND_SECONDS, origin + end + AROUND_SECONDS
    nearby = [reading for reading in readings if low <= reading.seconds <= high]
    return tuple(
        _columns(gpu, origin, [reading for reading in nearby if reading.gpu == gpu])
        for gpu in sorted({reading.gpu for reading in readings})
    )


def _columns(gpu: int, origin: float, readings: Sequence[Reading]) -> GpuSamples:
    return GpuSamples(
        gpu=gpu,
        seconds=tuple(reading.seconds - origin for reading in readings),
        watts=tuple(reading.watts for reading in readings),
        sm_megahertz=tuple(reading.sm_megahertz for reading in readings),
        celsius=tuple(reading.celsius for reading in readings),
        reasons=tuple(reading.reasons for reading in readings),
        joules=tuple(reading.joules for reading in readings),
    )


def window(repeat: Sequence[Request]) -> tuple[float, float]:
    """From the first start to the last end: all of the repeat's tokens come in it, those of its drain as well."""
    return min(request.start_seconds for request in repeat), max(request.end_seconds for request in repeat)


def energy(repeat: Sequence[Request], gpus: Sequence[GpuSamples]) -> Energy:
    """By counters or power between first start and last end, summed over the GPUs."""
    start, end = window(repeat)
    known = Energy(None, end - start, sum(request.output_tokens for request in repeat))
    if not gpus:
        return replace(
            known, why="no power was recorded: NVML did not report which GPUs the server used, or was not asked"
        )
    try:
        return replace(known, joules=sum(_joules(gpu, start, end) for gpu in gpus))
    except NotKnown as reason:
        return replace(known, why=str(reason))


def visit_energy(visit: Speed) -> Energy:
    """Of all repeats of one server together; not known where one of them is not."""
    repeats = [energy(*pair) for pair in zip(visit.repeats, visit.gpus or [()] * len(visit.repeats), strict=True)]
    known = [repeat.joules for repeat in repeats if repeat.joules is not None]
    return Energy(
        sum(known) if len(known) == len(repeats) else None,
        sum(repeat.seconds for repeat in repeats),
        sum(repeat.output_tokens for repeat in repeats),
        next((repeat.why for repeat in repeats if repeat.why), ""),
    )


def _joules(samples: GpuSamples, start: float, end: float) -> float:
    """Of one GPU: by its counter, which power must not contradict; by power where it has none. Raises NotKnown."""
    times, watts = _known_values(samples.seconds, samples.watts)
    if not len(times):
        raise NotKnown(f"GPU {samples.gpu} reports no power")
    if times[0] > start or times[-1] < end:
        raise NotKnown(f"the power samples of GPU {samples.gpu} do not cover the load")
    inside = times[(times > start) & (times < end)]
    if len(inside) < LEAST_SAMPLES:
        raise NotKnown(f"{len(inside)} power samples of GPU {samples.gpu} are too few (at least {LEAST_SAMPLES})")
    first, last = np.searchsorted(times, start, "right") - 1, np.searchsorted(times, end, "left")
    gap = float(np.diff(times[first : last + 1]).max())
    if gap > MOST_GAP_SECONDS:
        raise NotKnown(f"GPU {samples.gpu} was not sampled for {gap:.1f} s (at most {MOST_GAP_SECONDS:g})")
    areas = [_area(times, watts, start + lag, end + lag) for lag in LAGS]
    counted = _counted(samples, start, end)
    if counted is None:
        return areas[0]  # a GPU older than counters, whose power is that of the moment
    if not (1 - MOST_DISAGREEMENT) * min(areas) <= counted <= (1 + MOST_DISAGREEMENT) * max(areas):
        raise NotKnown(
            f"the power samples of GPU {samples.gpu} give {min(areas):.0f} to {max(areas):.0f} J and its energy "
            f"counter {counted:.0f} J: they differ by over {100 * MOST_DISAGREEMENT:.0f} %"
        )
    return counted


def _area(times: Floats, watts: Floats, start: float, end: float) -> float:
    """Joules by trapezoids; after the last sample its power goes on."""
    places = np.concatenate(([start], times[(times > start) & (times < end)], [end]))
    return float(np.trapezoid(np.interp(places, times, watts), places))


def _counted(samples: GpuSamples, start: float, end: float) -> float | None:
    """By the GPU's own counter, between samples in proportion to the time; None where it has none. Raises NotKnown."""
    times, joules = _known_values(samples.seconds, samples.joules)
    if not len(times):
        return None
    if times[0] > start or times[-1] < end:
        raise NotKnown(f"the energy counter of GPU {samples.gpu} was not read all through the load")
    inside = joules[(times > start) & (times < end)]
    if (np.diff(inside) < 0).any():
        raise NotKnown(f"the energy counter of GPU {samples.gpu} was set back during the load")
    if (renewed := len(set(inside))) < LEAST_SAMPLES:
        raise NotKnown(
            f"the energy counter of GPU {samples.gpu} had {renewed} values during the load (at least {LEAST_SAMPLES}): "
            "the load is too short"
        )
    return float(np.interp(end, times, joules) - np.interp(start, times, joules))


def _known_values(seconds: Sequence[float], values: Sequence[float | None]) -> tuple[Floats, Floats]:
    """The times at which there is a value, and the values."""
    pairs = [(at, value) for at, value in zip(seconds, values, strict=True) if value is not None]
    array = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def during(repeat: Sequence[Request], samples: GpuSamples, column: Sequence[float | None]) -> list[float]:
    """What a GPU told in one column while the repeat ran."""
    start, end = window(repeat)
    pairs = zip(samples.seconds, column, strict=True)
    return [value for at, value in pairs if start <= at <= end and value is not None]


def slow_downs(speed: Speed) -> list[str]:
    """Of each reason for which a GPU was slowed down: in which repeats, and how often at most."""
    descriptions = []
    for bit, name in SLOW_DOWNS.items():
        shares = {number: share for number, share in _shares(speed, bit) if share > 0}
        if shares:
            single = len(shares) == 1
            descriptions.append(
                f"its GPUs were slowed down by {name}: repeat{'' if single else 's'} {', '.join(map(str, shares))}, "
                f"{'' if single else 'up to '}{100 * max(shares.values()):.0f} % of the samples"
            )
    return descriptions


def _shares(speed: Speed, bit: int) -> Iterator[tuple[int, float]]:
    """(number from 1, share of the samples of the GPU that has the most) of every repeat."""
    for number, (repeat, gpus) in enumerate(zip(speed.repeats, speed.gpus, strict=False), 1):
        columns = [during(repeat, gpu, gpu.reasons) for gpu in gpus]
        yield (
            number,
            max(
                (sum(int(mask) & bit > 0 for mask in column) / len(column) for column in columns if column), default=0.0
            ),
        )
