"""Single figures of a cell that frontiers are drawn of and answers are ranked by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from evals.schema.load import LoadPoint
from evals.stats.intervals import Estimate, exact
from reports.metrics.cell import CellMetrics
from reports.metrics.needed_memory import needed_memory

Mix = Mapping[LoadPoint, float]  # which share of all output tokens each load gives, in any unit


def throughput(cell: CellMetrics, mix: Mix) -> Estimate | None:
    """Output tokens/s at the highest concurrency or, with a mix, over its loads; None where one was not measured."""
    if not mix:
        return cell.busiest.output_rate if cell.loads else None
    rates = {load.load: load.output_rate for load in cell.loads}
    if not mix.keys() <= rates.keys():
        return None
    return mixed_rate([rates[load] for load in mix], [*mix.values()])


def needed_gib(cell: CellMetrics) -> Estimate | None:
    needed = needed_memory(cell.trial)
    return needed.gib if needed else None


def accuracy_percent(cell: CellMetrics) -> Estimate | None:
    return cell.accuracy.map(lambda x: 100 * x) if cell.accuracy else None


def latency_seconds(cell: CellMetrics) -> Estimate | None:
    """The median end-to-end latency at the calmest load, as cells are compared by it."""
    return cell.calmest.compared_e2e if cell.loads else None


def bits_per_weight(cell: CellMetrics) -> Estimate | None:
    bits = (cell.trial.checkpoint or {}).get("bits_per_weight")
    return None if bits is None else exact(bits)


def mixed_rate(rates: Sequence[Estimate], shares: Sequence[float]) -> Estimate:
    """Output tokens/s where so large a share of them comes at each rate: 1 ÷ Σ share ÷ rate.

    Its interval recovers the variances from those of the rates, on the logarithms (MOVER: Zou and Donner, Construction
    of confidence limits about effect measures, Statistics in Medicine 27, 2008): it never reaches zero.
    """
    values = [rate.value for rate in rates]
    middle, count = _harmonic(values, shares), min(rate.count for rate in rates)
    if not 0 < middle < math.inf:
        return Estimate(middle, 0.0, math.inf, count)

    def reach(ends: Sequence[float]) -> float:
        moved = [_harmonic([*values[:i], max(end, 0.0), *values[i + 1 :]], shares) for i, end in enumerate(ends)]
        return math.hypot(*(math.log(end / middle) if end > 0 else math.inf for end in moved))

    low = middle * math.exp(-reach([rate.low for rate in rates]))
    return Estimate(middle, low, middle * math.exp(reach([rate.high for rate in rates])), count)


def _harmonic(rates: Sequence[float], shares: Sequence[float]) -> float:
    if any(rate == 0 for rate in rates):
        return 0.0
    seconds = sum(share / rate for share, rate in zip(shares, rates, strict=True))
    return sum(shares) / seconds if seconds else math.inf
