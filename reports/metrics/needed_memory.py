"""How much memory a cell needs under its load, whatever its server reserved.

A server on a GPU sets most of the device aside for its KV cache at start, so that peaks of all its cells are alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evals.schema.load import Request, Speed
from evals.schema.trial import NVML, SET_ASIDE, Memory, Trial
from evals.stats.intervals import Estimate, exact
from reports.metrics.cell import GIB

ON_A_CPU = "measured peak: on a CPU a page counts once it is written"
REPORTED = "reported by the engine"


@dataclass(frozen=True)
class NeededMemory:
    """`gib` with what it was computed from (`source`). `reserved` says what of the peak is mere pre-allocation; empty
    where nothing is known to be.
    """

    gib: Estimate
    source: str
    reserved: str = ""

    @property
    def note(self) -> str:
        """The source, where it is not that of every cell on a CPU."""
        return "" if self.source == ON_A_CPU else self.source


def needed_memory(trial: Trial) -> NeededMemory | None:
    """Weights + workspace + KV cache of the tokens in flight; the measured peak where that is not known. None where
    nothing was seen of the server's memory.

    A measured peak is the highest of all visits of a race: what is needed must be there in each. Workspace is what of
    the peak is neither weights nor KV cache. Where the engine does not report what it set aside for its KV cache, what
    is needed lies between weights + KV cache in flight and the peak.
    """
    memory = trial.memory
    if memory is None or not memory.peak_bytes:
        return None
    peak = memory.peak_bytes
    if memory.source != NVML:
        return NeededMemory(_peak_gib(memory), ON_A_CPU)
    weights = weights_bytes(trial)
    if weights is None or memory.kv_bytes_per_token is None:
        return NeededMemory(_peak_gib(memory), "measured peak: weights or KV cache per token are not reported")
    in_flight = kv_in_flight_bytes(trial)
    if memory.kv_cache_bytes is None:
        least = min(weights[0] + in_flight, peak) / GIB
        return NeededMemory(Estimate(least, least, peak / GIB, 1), "weights + KV in flight; workspace is not reported")
    if memory.kv_source != SET_ASIDE:
        return NeededMemory(_peak_gib(memory), "measured peak: its KV cache grows with use")
    workspace = max(peak - weights[0] - memory.kv_cache_bytes, 0)
    idle = max(memory.kv_cache_bytes - in_flight, 0)
    return NeededMemory(
        exact((weights[0] + workspace + in_flight) / GIB),
        "weights + workspace + KV in flight",
        f"of it {idle / GIB:.2f} GiB are set aside for the KV cache and idle",
    )


def _peak_gib(memory: Memory) -> Estimate:
    return exact(max(memory.peak_bytes, *(peak for _, peak in memory.later_peaks), 0) / GIB)


def weights_bytes(trial: Trial) -> tuple[int, str] | None:
    """Bytes of the weights and who reports them; None where neither engine nor checkpoint does."""
    if trial.memory is not None and trial.memory.weights_bytes is not None:
        return trial.memory.weights_bytes, REPORTED
    size = (trial.checkpoint or {}).get("bytes")
    return None if size is None else (int(size), "size of the checkpoint's tensors")


def kv_in_flight_bytes(trial: Trial) -> int:
    """KV cache of the most tokens that were in flight at once under any load; 0 where its size is not reported."""
    each = trial.memory.kv_bytes_per_token if trial.memory else None
    return round(most_in_flight_tokens(trial) * (each or 0.0))


def most_in_flight_tokens(trial: Trial) -> int:
    return max((in_flight_tokens(speed) for speed in trial.speed), default=0)


def in_flight_tokens(speed: Speed) -> int:
    """The most in any repeat, prompts and answers of the requests that were in flight at once."""
    return max(map(_most_at_once, speed.repeats))


def _most_at_once(requests: Sequence[Request]) -> int:
    """A request that begins when another ends takes its place."""
    sized = [(request, request.prompt_tokens + request.output_tokens) for request in requests]
    changes = sorted(
        [(request.end_seconds, -size) for request, size in sized]
        + [(request.sent_seconds, size) for request, size in sized]
    )
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most
