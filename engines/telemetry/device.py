"""What this machine has to run on."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import psutil
import pynvml

from engines.types import Device

HIDE_ALL = ("-1", "none", "void", "nodevfiles")  # what people, containers and Slurm write for no GPU
CGROUPS, OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_int8", "amx_bf16")


def find_device(kind: str = "auto") -> Device:
    """The device that cells run on: "cpu", "cuda" (the first GPU that may be used), or "auto" (a GPU if there is one).

    Raises ValueError if "cuda" is asked for and NVML finds no GPU, or CUDA_VISIBLE_DEVICES names none that there is.
    """
    gpu = _first_gpu() if kind in ("auto", "cuda") else None
    if gpu is None and kind != "cpu" and (missing := _missing_gpu()):
        raise ValueError(
            f"device '{kind}': CUDA_VISIBLE_DEVICES names {missing}, which is not a whole GPU of this machine"
        )
    if gpu is None and kind == "cuda":
        raise ValueError("device 'cuda': no NVIDIA GPU found by NVML")
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
    return Device("cpu", f"{name}, {psutil.cpu_count()} cores", features, memory_limit())


def available_cores() -> float:
    """How many cores this process may use: its affinity, and the quotas of its cgroup and those above."""
    cores = float(len(os.sched_getaffinity(0)))
    quotas = [float(quota) / float(period) for quota, period in _quotas() if float(quota) > 0]
    return min([cores, *quotas])


def _quotas() -> Iterator[tuple[str, str]]:
    """Microseconds of CPU time in each period, of every cgroup that has a limit."""
    for folder in _cgroup_folders("cpu"):
        with contextlib.suppress(OSError):  # version 2
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
            if quota != "max":
                yield quota, period
        with contextlib.suppress(OSError):  # version 1
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            yield quota, (folder / "cpu.cfs_period_us").read_text(encoding="ascii").strip()


def memory_limit() -> int:
    """Bytes that this process may use: the lowest limit of its cgroups, or all memory of the machine."""
    limits = [int(psutil.virtual_memory().total)]
    for folder in _cgroup_folders("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):  # "max" is no limit
                limits.append(int((folder / name).read_text(encoding="ascii")))
    return min(limits)


def _cgroup_folders(controller: str) -> Iterator[Path]:
    """The folders of this process's cgroup and of those above it, in both versions of the hierarchy."""
    with contextlib.suppress(OSError):
        for line in OWN_CGROUP.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            mounted = CGROUPS / controller if controllers else CGROUPS
            below = PurePosixPath(path.lstrip("/"))
            yield from (mounted / part for part in (below, *below.parents))


def _first_gpu() -> Device | None:
    with nvml() as handles, contextlib.suppress(pynvml.NVMLError):
        usable = visible(handles)
        if not usable:
            return None
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(usable[0])
        total = int(pynvml.nvmlDeviceGetMemoryInfo(usable[0]).total)
        name, slots = str(pynvml.nvmlDeviceGetName(usable[0])), tuple(_uuid(handle) for handle in usable)
        return Device("cuda", name, frozenset({f"sm{major}{minor}"}), total, slots)
    return None


@contextlib.contextmanager
def nvml() -> Iterator[list[Any]]:
    """The handles of all GPUs of this machine, by their PCI addresses; none without NVML."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield []
        return
    try:
        yield [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


def visible(handles: list[Any]) -> list[Any]:
    """Those that CUDA_VISIBLE_DEVICES leaves, in its order: numbers (by PCI address) or the beginnings of UUIDs.

    As CUDA does, it ends at the first that is not there (CUDA C++ Programming Guide, "CUDA Environment Variables").
    """
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is None:
        return handles
    chosen = []
    for identifier in map(str.strip, asked.split(",")):
        matches = [
            gpu
            for number, gpu in enumerate(handles)
            if identifier and (identifier == str(number) or _uuid(gpu).startswith(identifier))
        ]
        if not matches:
            break
        chosen.append(matches[0])
    return chosen


def _missing_gpu() -> str | None:
    """What CUDA_VISIBLE_DEVICES begins with where no GPU is that; None where it hides all on purpose, or where it is a
    number and the machine has no GPU at all.
    """
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    with nvml() as handles:
        if not first or first.lower() in HIDE_ALL or visible(handles) or (first.isdigit() and not handles):
            return None
    return first


def _uuid(handle: Any) -> str:
    return str(pynvml.nvmlDeviceGetUUID(handle))


def machine_slots() -> tuple[str, ...]:
    """Of everything in this machine that cells may be measured on, whoever may use it."""
    with nvml() as handles:
        return ("cpu", *(_uuid(handle) for handle in handles))


def driver_version() -> str | None:
    """The NVIDIA driver's version, or None without a GPU."""
    with nvml() as handles:
        return str(pynvml.nvmlSystemGetDriverVersion()) if handles else None
