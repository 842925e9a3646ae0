"""What a GPU tells of itself while it works: power, clock, temperature, why it is slowed down, energy so far.

Source: NVIDIA's NVML API reference, "Device Queries". Power is in milliwatts, and on many GPUs since Ampere the mean of
the last second; the energy counter is in millijoules since the driver was loaded.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pynvml

from engines.telemetry.device import nvml, visible

Handle = Any  # NVML's, of one GPU
SLOW_DOWNS = {
    pynvml.nvmlClocksEventReasonSwPowerCap: "its power limit",
    pynvml.nvmlClocksEventReasonHwSlowdown: "the hardware",
    pynvml.nvmlClocksEventReasonSwThermalSlowdown: "the driver, by heat",
    pynvml.nvmlClocksEventReasonHwThermalSlowdown: "the hardware, by heat",
    pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown: "the power supply (power brake)",
}  # bits of a reading's `reasons` that cost speed; others, such as an idle GPU, are none of a load's troubles


@dataclass(frozen=True)
class Reading:
    """One GPU at one moment, `seconds` on the machine's monotonic clock (perf_counter's).

    `reasons` are NVML's bits of why its clock is what it is, `joules` its counter. What it does not tell is None.
    """

    gpu: int
    seconds: float
    watts: float | None
    sm_megahertz: float | None
    celsius: float | None
    reasons: int | None
    joules: float | None


@contextlib.contextmanager
def gpus() -> Iterator[list[Handle]]:
    """The handles of the GPUs that may be used; none without NVML."""
    with nvml() as handles:
        yield visible(handles)


def read(gpu: int, handle: Handle) -> Reading:
    """One GPU now."""
    milliwatts = _or_none(lambda: pynvml.nvmlDeviceGetPowerUsage(handle))
    seconds = time.perf_counter()
    millijoules = _or_none(lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))
    reasons = _or_none(lambda: pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
    if reasons is None:  # drivers before 535 know these bits by their older name alone
        reasons = _or_none(lambda: pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
    return Reading(
        gpu=gpu,
        seconds=seconds,
        watts=None if milliwatts is None else milliwatts / 1000,
        sm_megahertz=_or_none(lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)),
        celsius=_or_none(lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)),
        reasons=reasons,
        joules=None if millijoules is None else millijoules / 1000,
    )


def _or_none(ask: Callable[[], int]) -> int | None:
    """None where the GPU or its driver does not support the question."""
    try:
        return int(ask())
    except pynvml.NVMLError:
        return None
