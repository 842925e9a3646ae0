from __future__ import annotations

from pathlib import Path

import pytest

from engines.telemetry import device_figures as module
from engines.telemetry.device_figures import DATA_SHEETS, device_figures
from engines.telemetry.memory_bandwidth import Bandwidth
from engines.types import Device


@pytest.fixture(autouse=True)
def _nothing_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))


def _gpu(name: str) -> Device:
    return Device("cuda", name, frozenset(), 1, ("GPU-0",))


@pytest.mark.parametrize(
    ("name", "terabytes", "teraflops"),
    [
        ("NVIDIA H100 80GB HBM3", 3.35, 989),
        ("NVIDIA H100 PCIe", 2.0, 756),
        ("NVIDIA H100 NVL", 3.9, 835),
        ("NVIDIA H200", 4.8, 989),
        ("NVIDIA GH200 480GB", 4.0, 989),
        ("NVIDIA A100-SXM4-80GB", 2.039, 312),
        ("NVIDIA A100-PCIE-40GB", 1.555, 312),
        ("NVIDIA A10G", 0.6, 70),
        ("NVIDIA A10", 0.6, 125),
        ("NVIDIA L40S", 0.864, 362),
        ("NVIDIA L4", 0.3, 121),
        ("Tesla T4", 0.32, 65),
        ("NVIDIA GeForce RTX 4090", 1.008, 165),
    ],
)
def test_a_gpu_is_found_by_the_name_that_nvml_gives_it(name: str, terabytes: float, teraflops: float) -> None:
    figures = device_figures(_gpu(name), 1)
    assert figures.bytes_per_second == pytest.approx(terabytes * 1e12)
    assert figures.flops == pytest.approx(teraflops * 1e12)
    assert figures.is_known


def test_every_gpu_of_the_table_has_a_source() -> None:
    assert all(sheet.source for sheet in DATA_SHEETS)


def test_what_was_measured_stands_in_for_the_data_sheet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "known_bandwidth", lambda *_: Bandwidth(2e12, 2e12, 2e12, 1, "planted"))
    figures = device_figures(_gpu("NVIDIA H100 80GB HBM3"), 1)
    assert figures.bytes_per_second == 2e12
    assert figures.source.endswith("memory bandwidth as measured here")


def test_more_threads_and_wider_units_multiply_faster() -> None:
    narrow, wide = (Device("cpu", "a CPU", frozenset(flags), 1) for flags in ({"avx2"}, {"avx2", "avx512f"}))
    assert device_figures(wide, 2).flops == 2 * device_figures(narrow, 2).flops == 4 * device_figures(narrow, 1).flops
    assert device_figures(narrow, 64).bytes_per_second == 150e9
