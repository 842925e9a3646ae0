"""How an engine spreads over several devices: one vocabulary in plans, whatever the engines call it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from engines.types import Device
from quant.types import Range

Ways = Annotated[int, Range(1, 1024)]
NAMES = ("tensor_parallel", "pipeline_parallel", "data_parallel")


def refused(options: Mapping[str, Any], device: Device) -> str | None:
    """Why these options cannot spread over this device, or None. On CPUs every engine here runs as one."""
    ways = {name: options[name] for name in NAMES if options.get(name, 1) > 1}
    if ways and device.kind == "cpu":
        name = next(iter(ways))
        return f"{name} {ways[name]} needs as many GPUs, and this device is a CPU"
    return None


def devices(options: Mapping[str, Any]) -> int:
    """How many devices a server with these options runs on: the product of all ways to spread."""
    return math.prod(int(options.get(name, 1)) for name in NAMES)


def too_many(options: Mapping[str, Any], there: int) -> str | None:
    """Why these options cannot run on so many GPUs, or None."""
    wanted = devices(options)
    if wanted <= there:
        return None
    ways = " × ".join(f"{name} {options[name]}" for name in NAMES if options.get(name, 1) > 1)
    return f"{ways} needs {wanted} GPUs, and there {'is' if there == 1 else 'are'} {there}"
