"""How many requests an engine computes at once: those beyond it wait in its queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.types import Device

OPTIONS = ("max_num_seqs", "max_running_requests", "max_batch", "max_batch_size", "parallel")


def batched_by_option(options: Mapping[str, Any], device: Device) -> int | None:
    """What its option for this says, times its replicas; None where it has none, or leaves it to the engine."""
    given = next((int(options[name]) for name in OPTIONS if options.get(name) is not None), None)
    return given and given * int(options.get("data_parallel", 1))
