"""Latency limits, the range that is searched for the highest load within them, and what was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evals.schema.load import Speed


@dataclass(frozen=True)
class SLO:
    """What users may be made to wait: TTFT and TPOT, each at this percentile of the requests at most so many seconds
    (None: however long).
    """

    ttft_seconds: float | None
    tpot_seconds: float | None
    percentile: float


@dataclass(frozen=True)
class SearchRange:
    """Where the highest load is looked for: a concurrency of closed loops or a rate (requests/s) of Poisson arrivals,
    at least `requests` of these token counts at each.
    """

    over: Literal["concurrency", "rate"]
    lowest: float
    highest: float
    requests: int
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Search:
    """The loads that were tried, in that order, to find the highest one within the limits."""

    within: SearchRange
    limits: SLO
    probes: tuple[Speed, ...]
