from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pynvml
import pytest

from engines.telemetry.device import find_device
from engines.telemetry.gpu import SLOW_DOWNS, gpus, read
from engines.telemetry.process_memory import gpu_process_bytes
from tests.support.planted_nvml import Process, plant


def _raises(code: int) -> Callable[..., Any]:
    def call(*_: object) -> Any:
        raise pynvml.NVMLError(code)

    return call


def test_a_gpu_tells_all_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with gpus() as handles:
        first, second = (read(gpu, handle) for gpu, handle in enumerate(handles))
    assert (first.gpu, first.watts, first.sm_megahertz, first.celsius, first.reasons) == (0, 100.0, 1500, 60, 0)
    assert first.joules == pytest.approx(100 * first.seconds, rel=1e-3)
    assert (second.gpu, second.watts, second.celsius) == (1, 300.0, 61)
    assert second.joules is None
    slowed = [name for bit, name in SLOW_DOWNS.items() if (second.reasons or 0) & bit]
    assert slowed == ["its power limit"]


@pytest.mark.parametrize(
    ("function", "field"),
    [
        ("nvmlDeviceGetPowerUsage", "watts"),
        ("nvmlDeviceGetClockInfo", "sm_megahertz"),
        ("nvmlDeviceGetTemperature", "celsius"),
        ("nvmlDeviceGetTotalEnergyConsumption", "joules"),
    ],
)
def test_what_a_gpu_does_not_support_is_not_known(monkeypatch: pytest.MonkeyPatch, function: str, field: str) -> None:
    plant(monkeypatch, **{function: _raises(pynvml.NVML_ERROR_NOT_SUPPORTED)})
    reading = read(0, 0)
    assert getattr(reading, field) is None
    others = {"watts", "sm_megahertz", "celsius", "joules", "reasons"} - {field}
    assert all(getattr(reading, other) is not None for other in others)


def test_an_older_driver_knows_the_reasons_by_their_older_name(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = _raises(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
    thermal = pynvml.nvmlClocksEventReasonHwThermalSlowdown
    plant(
        monkeypatch,
        nvmlDeviceGetCurrentClocksEventReasons=missing,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda _: thermal,
    )
    assert read(0, 0).reasons == thermal
    plant(
        monkeypatch, nvmlDeviceGetCurrentClocksEventReasons=missing, nvmlDeviceGetCurrentClocksThrottleReasons=missing
    )
    assert read(0, 0).reasons is None


def test_without_nvml_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pynvml, "nvmlInit", _raises(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND))
    with gpus() as handles:
        assert handles == []


def test_memory_of_processes_on_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, nvmlDeviceGetComputeRunningProcesses=lambda _: [Process(11), Process(12), Process(13)])
    assert gpu_process_bytes(0, {11, 13}) == 2_000_000
    assert gpu_process_bytes(0, {14}) is None
    plant(monkeypatch, nvmlDeviceGetComputeRunningProcesses=_raises(pynvml.NVML_ERROR_NOT_SUPPORTED))
    assert gpu_process_bytes(0, {11}) is None


def test_the_gpus_of_a_machine_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(
        monkeypatch,
        nvmlDeviceGetCudaComputeCapability=lambda _: (9, 0),
        nvmlDeviceGetName=lambda _: "made up",
        nvmlDeviceGetMemoryInfo=lambda _: type("Info", (), {"total": 80})(),
        nvmlDeviceGetUUID=lambda handle: f"GPU-{handle}",
    )
    device = find_device("cuda")
    assert (device.name, device.features, device.memory_bytes, device.count) == ("made up", {"sm90"}, 80, 2)
