"""The machine as a record: what of it decides how fast a server is. It is in every key of what is measured.

Its host, the time and the place in the order are facts beside a measurement (`engines.telemetry.host`).
"""

from __future__ import annotations

import hashlib
import platform
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pynvml

from engines.telemetry.device import available_cores, memory_limit, nvml, visible

CPU_INFO = Path("/proc/cpuinfo")
READABLE = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16")
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Gpu:
    """One GPU. `power_limit_watts` is the enforced one, `mig` whether it is cut into instances and into which."""

    name: str
    vbios: str
    power_limit_watts: float | None
    mig: str


@dataclass(frozen=True)
class Machine:
    """A processor and what this process may use of it; GPUs where cells run on them.

    `flags` is a digest of all of the processor's feature flags, `features` are those that decide which kernels exist.
    `cores` counts by affinity and the cgroup's quota, `memory_gib` is the cgroup's limit or all there is.
    """

    cpu: str
    family_model_stepping: str
    flags: str
    features: tuple[str, ...]
    cores: float
    memory_gib: float
    gpus: tuple[Gpu, ...] = ()
    driver: str = ""

    def described(self) -> dict[str, str]:
        """Its fields as short texts, for keys and for the reasons why one is another."""
        given = {name: value for name, value in asdict(self).items() if name != "gpus" and value != ""}
        texts = {name: ", ".join(value) if isinstance(value, tuple) else str(value) for name, value in given.items()}
        for number, gpu in enumerate(self.gpus):
            texts |= {f"GPU {number} {name}": str(value) for name, value in asdict(gpu).items()}
        return {f"machine: {name.replace('_', ' ')}": text for name, text in texts.items()}


@cache
def this_machine(kind: str) -> Machine:
    """The machine as cells of this kind of device ("cpu", "cuda") see it."""
    fields = _cpu_fields()
    flags = sorted((fields.get("flags") or fields.get("Features") or "").split())
    numbers = [fields.get(name, UNKNOWN) for name in ("cpu family", "model", "stepping")]
    gpus, driver = _gpus() if kind == "cuda" else ((), "")
    return Machine(
        cpu=fields.get("model name", platform.machine()),
        family_model_stepping="/".join(numbers),
        flags=hashlib.sha256(" ".join(flags).encode()).hexdigest()[:12],
        features=tuple(feature for feature in READABLE if feature in flags),
        cores=available_cores(),
        memory_gib=round(memory_limit() / 1024**3, 1),  # a kernel's own share differs by some MB
        gpus=gpus,
        driver=driver,
    )


def _cpu_fields() -> dict[str, str]:
    """What the kernel says of the first processor."""
    fields: dict[str, str] = {}
    with suppress(OSError):
        for line in CPU_INFO.read_text(encoding="utf-8").split("\n\n")[0].splitlines():
            name, _, value = line.partition(":")
            fields[name.strip()] = value.strip()
    return fields


def _gpus() -> tuple[tuple[Gpu, ...], str]:
    """The GPUs that may be used, and their driver."""
    with nvml() as handles:
        gpus = tuple(map(_gpu, visible(handles)))
        return gpus, str(pynvml.nvmlSystemGetDriverVersion()) if handles else ""


def _gpu(handle: Any) -> Gpu:
    limit = _ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    vbios = _ask(pynvml.nvmlDeviceGetVbiosVersion, handle) or UNKNOWN
    return Gpu(str(pynvml.nvmlDeviceGetName(handle)), str(vbios), limit and limit / 1000, _mig(handle))


def _mig(handle: Any) -> str:
    """ "off", or the names of its instances, which say their sizes."""
    mode = _ask(pynvml.nvmlDeviceGetMigMode, handle)
    if not mode or not mode[0]:
        return "off"
    slots = range(_ask(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0)
    instances = [
        _ask(lambda gpu, slot=slot: pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, slot), handle) for slot in slots
    ]
    return (
        ", ".join(sorted(str(_ask(pynvml.nvmlDeviceGetName, instance)) for instance in instances if instance)) or "on"
    )


def _ask(function: Any, handle: Any) -> Any:
    """What a GPU tells; None where it does not."""
    try:
        return function(handle)
    except pynvml.NVMLError:
        return None
