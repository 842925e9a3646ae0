"""The parts of a plan that change no measurement: limits of the answer and of time, memories, prices."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from engines.types import LIMITS, TimeLimits
from flows.plan.base import MOST, MOST_ENTRIES, Part, Positive

Seconds = Annotated[float, Field(gt=0, le=MOST)]


class LimitsPlan(Part):
    """What a cell must keep of its model's reference to be recommended: the baseline in `transformers`, else the most
    accurate one.

    `accuracy_recovery`: mean accuracy ÷ the reference's. `perplexity_ratio`: perplexity ÷ the reference's.
    `kl_nats`: mean KL divergence of its predictions from its own baseline's, where `kl_divergence` reads them.
    `memory_gib`: the memory that its server needs, which a baseline must keep too.
    `equivalence_margin`: accuracies that differ by less, relative to the baseline's, count as equal.
    """

    accuracy_recovery: Annotated[float, Field(gt=0, le=1.5)] = 0.98
    perplexity_ratio: Annotated[float, Field(ge=1.0, le=MOST)] = 1.1
    kl_nats: Annotated[float, Field(gt=0, le=MOST)] = 0.5
    equivalence_margin: Annotated[float, Field(gt=0, le=0.5)] = 0.01
    memory_gib: Annotated[float, Field(gt=0, le=MOST)] | None = None


class MemoryPlan(Part):
    """For which memories (GiB; the device's own by default) and contexts (tokens of a user; the plan's window by
    default) the report says how many users fit.
    """

    gib: list[Annotated[float, Field(gt=0, le=MOST)]] = Field(default_factory=list, max_length=MOST_ENTRIES)
    context_tokens: list[Positive] = Field(default_factory=list, max_length=MOST_ENTRIES)


class PricePlan(Part):
    """What one device costs for an hour: then the report says what a million output tokens cost. It changes no
    measurement.

    `max_cost_per_million_tokens`: what a million output tokens may cost at the load for which a cell is recommended.
    """

    per_device_hour: Annotated[float, Field(gt=0, le=MOST)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    max_cost_per_million_tokens: Annotated[float, Field(gt=0, le=MOST)] | None = None


class TimeLimitsPlan(Part):
    """When a step is given up, and its cells fail: a quantization; a server that gets ready (by default as long as its
    engine says); a whole request of a timed load; one of gates and scoring.
    """

    quantize_seconds: Seconds = 86_400.0
    ready_seconds: Seconds | None = LIMITS.ready_seconds
    request_seconds: Seconds = LIMITS.request_seconds
    scoring_seconds: Seconds = LIMITS.scoring_seconds

    @property
    def of_server(self) -> TimeLimits:
        return TimeLimits(self.ready_seconds, self.request_seconds, self.scoring_seconds)
