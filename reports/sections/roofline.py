"""How near decoding one request comes to what the memory allows, and why a smaller checkpoint may not be faster.

A decoded token needs every weight once, so it takes at least their bytes ÷ the memory's bandwidth (Williams, Waterman
and Patterson, Roofline, Communications of the ACM 52, 2009). The bytes are those of the checkpoint's tensors, without
an input embedding that is not the output matrix as well; the KV cache, small at these lengths, is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.schema.trial import Trial
from evals.stats.intervals import Estimate
from quant.types import FLOATS
from reports.metrics.cell import CellMetrics
from reports.metrics.load import LoadMetrics

AS_LARGE = 0.9  # an engine that holds so much of the unquantized model's bytes has dequantized what it loaded
FAR_FROM_IT = 0.5
Shape = tuple[int, int]  # prompt and output tokens


@dataclass(frozen=True)
class Roofline:
    """One cell at one request at a time, in its load of `shape`; what is not known is None.

    `weight_bytes` are read per token by the checkpoint's types, `held_bytes` is what the engine says its weights take.
    `floor_seconds`: the time per output token that the memory allows; `tpot_seconds` the median that was measured, and
    `share` the one ÷ the other. `speedup`: the baseline's median ÷ this one's, its interval that of both ends at worst;
    `ideal`: the ratio of their bytes. `slower`: smaller than the baseline and yet slower, beyond both intervals;
    `causes` are likely ones, in the order of the evidence. `warnings` are slow paths that the engine's log tells of.
    """

    name: str
    model: str
    shape: Shape
    weight_bytes: int | None
    held_bytes: int | None
    floor_seconds: float | None
    tpot_seconds: Estimate
    share: Estimate | None
    speedup: Estimate | None
    ideal: float | None
    slower: bool
    causes: tuple[str, ...]
    kernels: str
    warnings: tuple[str, ...]


def rooflines(cells: Sequence[CellMetrics]) -> list[Roofline]:
    """Every cell that ran a closed load of one request at a time, the shortest one."""
    by_key = {cell.trial.key: cell for cell in cells}
    results = []
    for cell in cells:
        load = _single(cell)
        if load is not None:
            baseline = by_key.get(cell.baseline.key) if cell.baseline and not cell.is_baseline else None
            results.append(_roofline(cell, load, baseline))
    return results


def bandwidths(cells: Sequence[CellMetrics]) -> list[Mapping[str, Any]]:
    """How fast the memory was read where these cells ran; one, unless they ran on several machines."""
    records: list[Mapping[str, Any]] = []
    for cell in cells:
        bandwidth = cell.trial.provenance.get("bandwidth")
        if bandwidth and bandwidth not in records and _single(cell):
            records.append(bandwidth)
    return records


def warnings_of(trial: Trial) -> tuple[str, ...]:
    """Slow paths that the engine's log tells of."""
    return tuple(str(trial.facts.get("kernel_warnings", "")).splitlines())


def _single(cell: CellMetrics, shape: Shape | None = None) -> LoadMetrics | None:
    """The closed load of one request with the fewest tokens, or of that shape."""
    single = [load for load in cell.loads if load.load.concurrency == 1 and load.latency.tpot]
    fitting = [load for load in single if shape is None or _shape(load) == shape]
    return min(fitting, key=_shape) if fitting else None


def _shape(load: LoadMetrics) -> Shape:
    return load.load.prompt_tokens, load.load.output_tokens


def _roofline(cell: CellMetrics, load: LoadMetrics, baseline: CellMetrics | None) -> Roofline:
    trial, tpot = cell.trial, load.latency.tpot[0]
    size, held, floor = _size(trial), trial.facts.get("weights_bytes"), _floor(trial)
    share = tpot.map(lambda seconds: _ratio(floor, seconds)) if floor is not None else None
    theirs = _single(baseline, _shape(load)) if baseline else None
    base_size = _size(baseline.trial) if baseline else None
    speedup = _speedup(theirs.latency.tpot[0], tpot) if theirs else None
    slower = baseline is not None and speedup is not None and speedup.high < 1
    slower = slower and baseline is not None and _bits_per_weight(trial) < _bits_per_weight(baseline.trial)
    causes: tuple[str, ...] = ()
    if slower and baseline is not None and theirs is not None:
        their_floor = _floor(baseline.trial)
        their_share = None if their_floor is None else _ratio(their_floor, theirs.latency.tpot[0].value)
        disturbed = tuple(f"its load was disturbed: {warning}" for warning in load.warnings)
        causes = disturbed + _causes(trial, baseline.trial, share.value if share else None, their_share)
        causes = causes or ("no cause in its log",)
    return Roofline(
        name=trial.name,
        model=trial.model,
        shape=_shape(load),
        weight_bytes=size,
        held_bytes=int(held) if held is not None else None,
        floor_seconds=floor,
        tpot_seconds=tpot,
        share=share,
        speedup=speedup,
        ideal=base_size / size if base_size and size else None,
        slower=slower,
        causes=causes,
        kernels=str(trial.facts.get("kernels_told") or trial.facts.get("kernel", "")),
        warnings=warnings_of(trial),
    )


def _size(trial: Trial) -> int | None:
    size: int | None = (trial.checkpoint or {}).get("decode_bytes")
    return size


def _bits_per_weight(trial: Trial) -> float:
    return float((trial.checkpoint or {}).get("bits_per_weight", 0.0))


def _floor(trial: Trial) -> float | None:
    """Seconds; None for a server that was attached to, which may run on another machine. GPUs that share a layer read
    their parts of it at once.
    """
    size, bandwidth = _size(trial), trial.provenance.get("bandwidth")
    if size is None or bandwidth is None or "attached" in trial.facts:
        return None
    options: Mapping[str, Any] = trial.provenance.get("engine_options") or {}
    return size / (float(bandwidth["bytes_per_second"]) * int(options.get("tensor_parallel", 1)))


def _ratio(top: float, bottom: float) -> float:
    """Times are positive: an unbounded end below is nothing, so that the ratio has no end above."""
    return top / bottom if bottom > 0 else math.inf


def _speedup(baseline: Estimate, own: Estimate) -> Estimate:
    low = _ratio(max(baseline.low, 0.0), own.high)
    return Estimate(
        _ratio(baseline.value, own.value), low, _ratio(baseline.high, own.low), min(baseline.count, own.count)
    )


def _causes(trial: Trial, baseline: Trial, share: float | None, their_share: float | None) -> tuple[str, ...]:
    """What the log says; else what follows from the record. None of it was tried: they are likely causes."""
    warnings = warnings_of(trial)
    if warnings:
        return warnings
    causes = [_dequantized(trial, baseline), _on_the_fly(trial), _not_memory(share, their_share)]
    return tuple(cause for cause in causes if cause)


def _dequantized(trial: Trial, baseline: Trial) -> str:
    ours, theirs = trial.facts.get("weights_bytes"), baseline.facts.get("weights_bytes")
    if ours is None or theirs is None or ours < AS_LARGE * theirs:
        return ""
    return (
        f"the engine holds {ours / 1e6:.0f} MB of weights, the unquantized model takes {theirs / 1e6:.0f} MB there: "
        "they are dequantized when they are loaded, so no fewer bytes are read"
    )


def _on_the_fly(trial: Trial) -> str:
    scheme = (trial.checkpoint or {})["spec"]["scheme"]
    if scheme.get("activations", FLOATS[0]) in FLOATS:
        return ""
    return (
        f"activations are quantized to {scheme['activations']} at every step, in every layer: for one request that can "
        "cost more than reading fewer bytes saves"
    )


def _not_memory(share: float | None, their_share: float | None) -> str:
    if share is None or their_share is None or share >= FAR_FROM_IT:
        return ""
    if their_share >= FAR_FROM_IT:
        return (
            f"the unquantized model reaches {100 * their_share:.0f} % of the roofline, this one {100 * share:.0f} %: "
            "unpacking its weights takes the time, not reading them. Probably the engine has no fast kernel for "
            "them on this device, or another process ran on it"
        )
    return (
        f"neither is limited by memory bandwidth (this one at {100 * share:.0f} % of the roofline, the unquantized at "
        f"{100 * their_share:.0f} %): reading fewer bytes saves little where arithmetic or overhead takes the time"
    )
