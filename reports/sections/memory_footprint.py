"""Memory as capacity: what is fixed, what each token of a user takes, and so how many users fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.schema.trial import NVML, SET_ASIDE, Trial
from reports.metrics.cell import CellMetrics
from reports.metrics.needed_memory import kv_in_flight_bytes, most_in_flight_tokens, weights_bytes


@dataclass(frozen=True)
class Fit:
    """`users` of `context_tokens` each that fit into a memory of `budget_bytes` at once; None where the weights and the
    rest do not.
    """

    budget_bytes: int
    context_tokens: int
    users: int | None


@dataclass(frozen=True)
class Footprint:
    """Bytes of one cell's server. `other_bytes`: its peak − weights − KV cache, that is activations, workspace, code.

    On a CPU what a server set aside for its KV cache takes no memory before it is written: there the KV cache is that
    of the tokens in flight, which leaves `other_bytes` rather too large. NVML counts what was set aside. `idle_bytes`
    of the KV cache were set aside and never needed: a peak that is only pre-allocation. `needed_bytes`: weights + other
    + KV cache of the tokens in flight.
    """

    name: str
    model: str
    peak_bytes: int
    needed_bytes: int
    weights_bytes: int
    weights_source: str
    kv_bytes_per_token: float
    kv_source: str
    in_flight_tokens: int
    other_bytes: int
    idle_bytes: int | None
    fits: tuple[Fit, ...]


def footprints(cells: Sequence[CellMetrics], asked: Mapping[str, Any] | None) -> list[Footprint]:
    """Of every cell whose peak and KV bytes per token are known. `asked`: `budgets_bytes` and `context_tokens`."""
    measured = [_footprint(cell.trial, asked or {}) for cell in cells]
    return [footprint for footprint in measured if footprint is not None]


def _footprint(trial: Trial, asked: Mapping[str, Any]) -> Footprint | None:
    memory = trial.memory
    if memory is None or memory.kv_bytes_per_token is None or not memory.peak_bytes:
        return None
    sized = weights_bytes(trial)
    if sized is None:
        return None
    weights, weights_source = sized
    in_flight = kv_in_flight_bytes(trial)
    aside = memory.kv_cache_bytes if memory.kv_source == SET_ASIDE else None
    counted = aside if aside is not None and memory.source == NVML else in_flight
    other = max(memory.peak_bytes - weights - counted, 0)
    fits = [
        # below zero no user fits, nor do the weights
        Fit(budget, context, None if left < 0 else int(left // (memory.kv_bytes_per_token * context)))
        for budget in asked.get("budgets_bytes", ())
        for left in [budget - weights - other]
        for context in asked.get("context_tokens", ())
    ]
    return Footprint(
        trial.name,
        trial.model,
        memory.peak_bytes,
        weights + other + in_flight,
        weights,
        weights_source,
        memory.kv_bytes_per_token,
        memory.kv_token_source or "",
        most_in_flight_tokens(trial),
        other,
        None if aside is None else max(aside - in_flight, 0),
        tuple(fits),
    )
