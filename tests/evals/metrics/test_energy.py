"""Energy of a repeat, worked out by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pynvml
import pytest

from engines.telemetry.gpu import Reading
from evals.metrics.energy import AROUND_SECONDS, energy, slow_downs, window, with_gpus
from evals.schema.load import ClientLoad, GpuSamples, LoadPoint, Request, Speed

REQUESTS = (Request(1.0, ((2.0, 5), (3.0, 10)), 3.0, 10, 10), Request(1.5, ((3.0, 5), (5.0, 10)), 5.0, 10, 10))
POWER_CAP, IDLE = pynvml.nvmlClocksEventReasonSwPowerCap, pynvml.nvmlClocksEventReasonGpuIdle


def _samples(gpu: int = 0, *, low: float = 0.95, high: float = 5.05, step: float = 0.1) -> GpuSamples:
    """A GPU whose power rises by 100 W a second from nothing at the load's start, with a counter of what it drew."""
    seconds = tuple(low + step * n for n in range(round((high - low) / step) + 1))
    none = (None,) * len(seconds)
    watts, joules = tuple(100 * at for at in seconds), tuple(7.0 + 50 * at**2 for at in seconds)
    return GpuSamples(gpu, seconds, watts, none, none, none, joules)


def test_a_repeat_lasts_from_its_first_start_to_its_last_end() -> None:
    assert window(REQUESTS) == (1.0, 5.0)


def test_energy_is_the_area_under_the_power_of_all_gpus() -> None:
    """∫ 100 t dt from 1 to 5 s is 1200 J."""
    usage = energy(REQUESTS, [_samples(0), _samples(1)])
    assert usage.joules == pytest.approx(2 * 1200)
    assert (usage.seconds, usage.output_tokens, usage.why) == (4.0, 20, "")


def _lagging(seconds_of_load: float) -> GpuSamples:
    """A GPU that draws 100 W, and 400 W while the load runs from 1 s on, read every 0.1 s: its counter goes by what it
    draws, its power is the mean of the last second.
    """
    seconds = tuple(round(0.1 * n, 1) for n in range(80))
    end = 1.0 + seconds_of_load

    def drawn(at: float) -> float:
        return 100 * at + 300 * min(max(at - 1.0, 0.0), seconds_of_load)

    watts, joules = tuple(drawn(at) - drawn(at - 1) for at in seconds), tuple(map(drawn, seconds))
    assert seconds[-1] > end + 1
    none = (None,) * len(seconds)
    return GpuSamples(0, seconds, watts, none, none, none, joules)


def _lasting(seconds: float) -> tuple[Request, ...]:
    return (Request(1.0, ((1.0 + seconds, 10),), 1.0 + seconds, 10, 10),)


@pytest.mark.parametrize("seconds", [1.2, 2.0, 4.0])
def test_power_that_lags_does_not_make_energy_unknown(seconds: float) -> None:
    """Seen on an H100: the area under the power of a first repeat was up to 20 % below the counter."""
    samples = _lagging(seconds)
    area = sum(watts * 0.1 for at, watts in zip(samples.seconds, samples.watts, strict=True) if 1 < at <= 1 + seconds)
    assert area < 0.92 * 400 * seconds
    assert energy(_lasting(seconds), [samples]).joules == pytest.approx(400 * seconds)


def test_a_gpu_without_counter_is_believed() -> None:
    """GPUs before Volta: their power is that of the moment."""
    samples = _samples()
    assert energy(REQUESTS, [replace(samples, joules=(None,) * len(samples.seconds))]).joules == pytest.approx(1200)


def _counting(joules: Sequence[float | None]) -> GpuSamples:
    return replace(_samples(), joules=tuple(joules))


def _without(samples: GpuSamples, low: float, high: float) -> GpuSamples:
    indexes = [n for n, at in enumerate(samples.seconds) if not low < at < high]
    return replace(
        samples,
        **{name: tuple(getattr(samples, name)[n] for n in indexes) for name in samples.__dict__ if name != "gpu"},
    )


@pytest.mark.parametrize(
    ("gpus", "why"),
    [
        ([], "no power was recorded"),
        ([_samples(0), replace(_samples(1), watts=(None,) * 42)], "GPU 1 reports no power"),
        ([_samples(low=1.05)], "the power samples of GPU 0 do not cover the load"),
        ([_samples(high=4.95)], "the power samples of GPU 0 do not cover the load"),
        ([_samples(low=0.75, high=5.25, step=0.5)], r"8 power samples of GPU 0 are too few \(at least 10\)"),
        ([_without(_samples(), 2.0, 3.5)], r"GPU 0 was not sampled for 1\.6 s \(at most 1\)"),
        ([_counting([None, *range(41)])], "the energy counter of GPU 0 was not read all through the load"),
        ([_counting([9.0 * (n % 20) for n in range(42)])], "the energy counter of GPU 0 was set back during the load"),
        (
            [_counting([n // 6 for n in range(42)])],
            r"GPU 0 had 7 values during the load \(at least 10\): the load is too",
        ),
        (
            [replace(_samples(), joules=tuple(120 * at**2 for at in _samples().seconds))],
            r"the power samples of GPU 0 give 1200 to \d+ J and its energy counter 2880 J: they differ by over 25 %",
        ),
    ],
)
def test_energy_that_cannot_be_told_says_why(gpus: list[GpuSamples], why: str) -> None:
    usage = energy(REQUESTS, gpus)
    assert usage.joules is None
    assert re.search(why, usage.why), usage.why


def test_a_little_disagreement_is_allowed() -> None:
    samples = _samples()
    assert energy(REQUESTS, [replace(samples, joules=tuple(54 * at**2 for at in samples.seconds))]).joules is not None


def _speed(repeats: int = 1) -> Speed:
    client = ClientLoad(4.0, 0.1, (0.0, 0.0, 0.0), 1000.0)
    clients = tuple(replace(client, origin_seconds=1000.0 + 100 * n) for n in range(repeats))
    return Speed(LoadPoint(2, 2, 10, 10), (REQUESTS,) * repeats, clients)


def test_readings_are_cut_to_their_repeats() -> None:
    readings = [Reading(gpu, 1000.0 + n, 100.0 + n, 1500, 60, 0, None) for n in range(120) for gpu in (0, 1)]
    speed = with_gpus(_speed(2), readings)
    start, end = (1.0 - AROUND_SECONDS, 5.0 + AROUND_SECONDS)
    assert [[gpu.gpu for gpu in gpus] for gpus in speed.gpus] == [[0, 1], [0, 1]]
    first, second = speed.gpus[0][0], speed.gpus[1][1]
    assert first.seconds == second.seconds == tuple(float(n) for n in range(int(start), int(end) + 1))
    assert (first.watts[0], second.watts[0]) == (100.0, 200.0)
    assert (first.sm_megahertz[0], first.celsius[0], first.reasons[0], first.joules[0]) == (1500, 60, 0, None)


def test_without_readings_nothing_is_recorded() -> None:
    assert with_gpus(_speed(), []) == _speed()


def test_a_load_whose_start_is_not_known_has_no_samples() -> None:
    speed = replace(_speed(), clients=(ClientLoad(4.0, 0.1, (0.0, 0.0, 0.0)),))
    assert with_gpus(speed, [Reading(0, 1000.0, 100.0, None, None, None, None)]).gpus == ((),)


def _slowed(*bits: tuple[int, ...]) -> Speed:
    """Repeats of four seconds, each with these reasons at its first samples, after one before it began."""
    gpus = []
    for masks in bits:
        reasons = (POWER_CAP, *masks, *[0] * (4 - len(masks)))
        columns = ((None,) * 5,) * 3
        gpus.append((GpuSamples(0, (0.5, 1.5, 2.5, 3.5, 4.5), *columns, reasons, (None,) * 5),))
    return replace(_speed(len(bits)), gpus=tuple(gpus))


def test_a_gpu_that_was_slowed_down_is_told_with_the_repeats() -> None:
    thermal = pynvml.nvmlClocksEventReasonHwThermalSlowdown
    assert slow_downs(_slowed((POWER_CAP,), (), (POWER_CAP | IDLE, POWER_CAP | thermal))) == [
        "its GPUs were slowed down by its power limit: repeats 1, 3, up to 50 % of the samples",
        "its GPUs were slowed down by the hardware, by heat: repeat 3, 25 % of the samples",
    ]


def test_an_idle_gpu_is_not_slowed_down() -> None:
    assert slow_downs(_slowed((IDLE,), ())) == []
    assert slow_downs(_speed()) == []
