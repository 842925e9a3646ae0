"""How fast a device reads its memory and multiplies: measured before, else of its data sheet, else by its kind.

Only forecasts are made of these figures: no result depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass

from engines.telemetry.memory_bandwidth import known_bandwidth
from engines.types import Device


@dataclass(frozen=True)
class DeviceFigures:
    """Bytes and floating-point operations per second (16 bits on a GPU, 32 on a CPU), and where they are from.

    `is_known` is False where they are those of its kind alone.
    """

    bytes_per_second: float
    flops: float
    source: str
    is_known: bool = True


@dataclass(frozen=True)
class DataSheet:
    """A GPU known by `words` that are all in NVML's name of it: TB/s of memory, dense FP16 TFLOP/s of tensor cores."""

    words: tuple[str, ...]
    terabytes_per_second: float
    teraflops: float
    source: str


# the first that fits counts: special forms stand before the common one
DATA_SHEETS = (
    DataSheet(("B200",), 8.0, 2250, "NVIDIA DGX B200 data sheet, a GPU of eight"),
    DataSheet(("GH200",), 4.0, 989, "NVIDIA GH200 data sheet, HBM3"),
    DataSheet(("H200",), 4.8, 989, "NVIDIA H200 data sheet"),
    DataSheet(("H100", "NVL"), 3.9, 835, "NVIDIA H100 data sheet, NVL"),
    DataSheet(("H100", "PCIe"), 2.0, 756, "NVIDIA H100 PCIe product brief"),
    DataSheet(("H100",), 3.35, 989, "NVIDIA H100 data sheet, SXM"),
    DataSheet(("A100", "80GB", "SXM"), 2.039, 312, "NVIDIA A100 data sheet, 80GB SXM"),
    DataSheet(("A100", "80GB"), 1.935, 312, "NVIDIA A100 data sheet, 80GB PCIe"),
    DataSheet(("A100",), 1.555, 312, "NVIDIA A100 data sheet, 40GB"),
    DataSheet(("L40S",), 0.864, 362, "NVIDIA L40S data sheet"),
    DataSheet(("L40",), 0.864, 181, "NVIDIA L40 data sheet"),
    DataSheet(("L4",), 0.3, 121, "NVIDIA L4 data sheet"),
    DataSheet(("A10G",), 0.6, 70, "Amazon EC2 G5, NVIDIA A10G"),
    DataSheet(("A10",), 0.6, 125, "NVIDIA A10 data sheet"),
    DataSheet(("A30",), 0.933, 165, "NVIDIA A30 data sheet"),
    DataSheet(("A40",), 0.696, 150, "NVIDIA A40 data sheet"),
    DataSheet(("A6000",), 0.768, 155, "NVIDIA RTX A6000 data sheet"),
    DataSheet(("6000", "Ada"), 0.96, 364, "NVIDIA RTX 6000 Ada data sheet"),
    DataSheet(("V100",), 0.9, 125, "NVIDIA V100 data sheet, SXM2"),
    DataSheet(("T4",), 0.32, 65, "NVIDIA T4 data sheet"),
    DataSheet(("5090",), 1.792, 210, "NVIDIA Blackwell RTX architecture whitepaper, FP32 accumulate"),
    DataSheet(("4090",), 1.008, 165, "NVIDIA Ada architecture whitepaper, FP32 accumulate"),
    DataSheet(("3090",), 0.936, 71, "NVIDIA Ampere GA102 whitepaper, FP32 accumulate"),
)
UNKNOWN_GPU = DataSheet((), 0.6, 100, "a GPU that is not in the table, taken for an A10")

CORE_BYTES_PER_SECOND = 15e9
SOCKET_BYTES_PER_SECOND = 150e9
CLOCK_HERTZ = 3e9
FLOPS_PER_CYCLE = {"avx512f": 64, "avx2": 32}  # fused multiply-adds of two units of 512 or 256 bits


def device_figures(device: Device, threads: int) -> DeviceFigures:
    """Of one GPU, or of that many threads of a processor. Nothing is measured for it."""
    measured = known_bandwidth(device, threads)
    if device.kind == "cpu":
        cycle = next((flops for feature, flops in FLOPS_PER_CYCLE.items() if feature in device.features), 8)
        read = min(CORE_BYTES_PER_SECOND * threads, SOCKET_BYTES_PER_SECOND)
        figures = DeviceFigures(read, threads * CLOCK_HERTZ * cycle, f"{threads} threads of {device.name}")
    else:
        words = device.name.replace("-", " ").split()
        fits = (sheet for sheet in DATA_SHEETS if all(any(word in part for part in words) for word in sheet.words))
        sheet = next(fits, UNKNOWN_GPU)
        known = sheet is not UNKNOWN_GPU
        figures = DeviceFigures(sheet.terabytes_per_second * 1e12, sheet.teraflops * 1e12, sheet.source, known)
    if measured is None:
        return figures
    source = f"{figures.source}; memory bandwidth as measured here"
    return DeviceFigures(measured.bytes_per_second, figures.flops, source, figures.is_known)
