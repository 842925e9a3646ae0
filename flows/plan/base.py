"""What all parts of a plan have in common."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ModelWrapValidatorHandler, model_validator

from engines.telemetry.device import available_cores

MOST = 10**9  # of anything that is counted: more ends nowhere
MOST_ENTRIES = 1000  # of a list: what a plan of so many makes takes months
Positive = Annotated[int, Field(ge=1, le=MOST)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # NumPy's old generator, which tools seed, takes 32 bits
MOST_THREADS = 1024


def _threads(given: Any) -> Any:
    """One sentence for both kinds of values. Raises ValueError."""
    if given == "auto" or (type(given) is int and 1 <= given <= MOST_THREADS):
        return given
    raise ValueError(f"must be `auto` or a whole number from 1 to {MOST_THREADS}, but it is {given!r}")


Threads = Annotated[Literal["auto"] | int, BeforeValidator(_threads)]


def thread_count(threads: Threads) -> int:
    """By affinity and the cgroup's quota where the plan leaves it open, rounded down, at least one."""
    return max(1, int(available_cores())) if threads == "auto" else threads


class Part(BaseModel):
    """Base of all parts of a plan: unknown keys and loose types are errors, and nothing changes later.

    A text in the place of a part with a `text_key` is the value of that key: `methods: [none, fp8]`.
    It wraps the others: a part's own validators that come before see keys.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    text_key: ClassVar[str] = ""

    @model_validator(mode="wrap")
    @classmethod
    def _from_text(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        return handler({cls.text_key: given} if cls.text_key and isinstance(given, str) else given)
