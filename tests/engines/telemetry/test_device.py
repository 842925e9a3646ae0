from __future__ import annotations

import pynvml
import pytest

import engines.telemetry.device as device_module
from engines.telemetry.device import cpu, find_device, machine_slots, nvml, visible
from tests.support.planted_nvml import plant


def test_the_cpu_is_described() -> None:
    device = cpu()
    assert device.kind == "cpu"
    assert "cores" in device.name
    assert device.memory_bytes > 10**9


def test_cuda_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "_first_gpu", lambda: None)
    with pytest.raises(ValueError, match="no NVIDIA GPU found by NVML"):
        find_device("cuda")
    assert find_device("auto").kind == "cpu"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(None, [0, 1, 2]), ("2,0", [2, 0]), ("GPU-1", [1]), ("1,7,0", [1]), ("", []), (" GPU-2 , 1", [2, 1]), ("-1", [])],
)
def test_gpus_that_may_be_used(monkeypatch: pytest.MonkeyPatch, asked: str | None, expected: list[int]) -> None:
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lambda handle: f"GPU-{handle}-uuid")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if asked is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    assert visible([0, 1, 2]) == expected


def test_without_nvml_the_processor_is_the_only_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    with nvml() as handles:
        assert handles == []
    assert machine_slots() == ("cpu",)
    assert cpu().slots == ("cpu",)


@pytest.mark.parametrize("kind", ["auto", "cuda"])
@pytest.mark.parametrize(
    ("asked", "missing"),
    [("MIG-0a1b", "MIG-0a1b"), ("GPU-9", "GPU-9"), ("7", "7"), ("7,0", "7"), ("MIG-GPU-0/1/0", "MIG")],
)
def test_a_variable_that_names_no_gpu_is_refused(
    monkeypatch: pytest.MonkeyPatch, asked: str, missing: str, kind: str
) -> None:
    plant(monkeypatch, nvmlDeviceGetUUID=lambda handle: f"GPU-{handle}-uuid")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    with pytest.raises(
        ValueError, match=f"device '{kind}': CUDA_VISIBLE_DEVICES names {missing}.*not a whole GPU of this"
    ):
        find_device(kind)
    assert find_device("cpu").kind == "cpu"


@pytest.mark.parametrize("asked", ["", "-1", "NoDevFiles", "none"])
def test_gpus_may_be_hidden_on_purpose(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    plant(monkeypatch, nvmlDeviceGetUUID=lambda handle: f"GPU-{handle}-uuid")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    assert find_device("auto").kind == "cpu"


def test_a_number_that_was_left_on_a_machine_without_gpus_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, nvmlDeviceGetCount=lambda: 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert find_device("auto").kind == "cpu"
