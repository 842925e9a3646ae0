"""Many tests at once: p values adjusted so that a family of them is wrong no more often than one."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values in the order given."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        worst = max(worst, min((len(p_values) - rank) * p_values[index], 1.0))
        adjusted[index] = worst
    return adjusted
