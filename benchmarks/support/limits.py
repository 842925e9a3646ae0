"""What a simulation is asked for: limits of figures, and which line comes nearest to each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """A figure of a `line` that is to be at most (or `at_least`) `limit`, give or take the simulation's `error`."""

    name: str
    line: str
    value: float
    limit: float
    error: float = 0.0
    at_least: bool = False

    @property
    def excess(self) -> float:
        """By how much it is missed; negative where it is met."""
        return (self.limit - self.value if self.at_least else self.value - self.limit) - self.error


def summed_up(made: Sequence[Limit]) -> int:
    """Print the line that comes nearest to each limit, or misses it most; how many lines miss one."""
    print("\nLimits, and the line that is nearest to each:")
    for name in dict.fromkeys(limit.name for limit in made):
        nearest = max((limit for limit in made if limit.name == name), key=lambda limit: limit.excess)
        wanted = f"{'at least' if nearest.at_least else 'at most'} {nearest.limit:g}"
        print(f"{name}: {nearest.value:.2f} ({wanted}, simulated to ±{nearest.error:.1f}): {nearest.line}")
    failures = [limit for limit in made if limit.excess > 0]
    for limit in failures:
        print(f"missed: {limit.line}: {limit.name} {limit.value:.2f}")
    print("all limits are met" if not failures else f"{len(failures)} limits are missed")
    return len(failures)
