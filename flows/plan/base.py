"""What all parts of a plan have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
Threads = Literal["auto"] | Annotated[int, Field(ge=1, le=1024)]


class Part(BaseModel):
    """Base of all parts of a plan: unknown keys and loose types are errors, and nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
