"""What this machine has to run on."""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path

import psutil
import pynvml

from engines.spec import Device

CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_int8", "amx_bf16")


def find_device(kind: str = "auto") -> Device:
    """The device that cells run on: "cpu", "cuda" (the first GPU), or "auto" (a GPU if there is one).

    Raises ValueError if "cuda" is asked for and NVML finds no GPU.
    """
    gpu = _first_gpu() if kind in ("auto", "cuda") else None
    if gpu is None and kind == "cuda":
        raise ValueError("device 'cuda': no NVIDIA GPU found by NVML; use `device: cpu` or install the driver")
    return gpu or cpu()


def cpu() -> Device:
    """The processor, with the instruction sets that decide which kernels exist."""
    name, flags = platform.machine(), ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            field, _, value = line.partition(":")
            if field.strip() == "model name":
                name = value.strip()
            elif field.strip() == "flags":
                flags = value
                break
    features = frozenset(feature for feature in CPU_FEATURES if feature in flags.split())
    return Device("cpu", f"{name}, {psutil.cpu_count()} cores", features, psutil.virtual_memory().total)


def _first_gpu() -> Device | None:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
        total = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
        return Device("cuda", str(pynvml.nvmlDeviceGetName(handle)), frozenset({f"sm{major}{minor}"}), total)
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def driver_version() -> str | None:
    """The NVIDIA driver's version, or None without one."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        return str(pynvml.nvmlSystemGetDriverVersion())
    finally:
        pynvml.nvmlShutdown()
