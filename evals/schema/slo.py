"""Latency limits, the range that is searched for the highest load within them, and what was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evals.schema.load import Speed

LEAST_REPEATS = 5  # of a load of a search: of two, an interval is five times as wide


@dataclass(frozen=True)
class SLO:
    """Latency limits: TTFT and TPOT in seconds (None: no limit), each at this percentile of the requests."""

    ttft_seconds: float | None
    tpot_seconds: float | None
    percentile: float


@dataclass(frozen=True)
class SearchRange:
    """Where the highest load is looked for: a concurrency of closed loops or a rate (requests/s) of Poisson arrivals,
    at least `requests` of these token counts at each, for about `level_seconds` or longer.
    """

    over: Literal["concurrency", "rate"]
    lowest: float
    highest: float
    requests: int
    prompt_tokens: int
    output_tokens: int
    level_seconds: float = 0.0


@dataclass(frozen=True)
class Search:
    """The loads that were tried, in that order, to find the highest one within the limits; and of those found, the
    highest first, what they were in a fresh session of the server (`confirmed`), up to the first that met them again.
    """

    within: SearchRange
    limits: SLO
    probes: tuple[Speed, ...]
    confirmed: tuple[Speed, ...] = ()
