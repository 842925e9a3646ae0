"""What all parts of a plan have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from engines.telemetry.machine import available_cores

Positive = Annotated[int, Field(ge=1)]
Threads = Literal["auto"] | Annotated[int, Field(ge=1, le=1024)]


def thread_count(threads: Threads) -> int:
    """By affinity and the cgroup's quota where the plan leaves it open, rounded down, at least one."""
    return max(1, int(available_cores())) if threads == "auto" else threads


class Part(BaseModel):
    """Base of all parts of a plan: unknown keys and loose types are errors, and nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
