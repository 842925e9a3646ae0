"""What the figures of a table are held to, and the lines below it that say which are not, or why some are wider."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

COVERAGE = (93.0, 98.0)
ROUNDING = 1e-9


@dataclass(frozen=True)
class Limit:
    """From `least` to `most`, in percent. `excuse` says why figures may lie above `most`; without one they may not."""

    figure: str
    least: float
    most: float
    excuse: str = ""

    def judged(self, percents: Sequence[float]) -> tuple[str, int]:
        """(a line of how many of them are within, and what the rest are; how many are outside)."""
        below = [percent for percent in percents if percent < self.least - ROUNDING]
        above = [percent for percent in percents if percent > self.most + ROUNDING]
        inside = len(percents) - len(below) - len(above)
        parts = [f"{self.figure}: {inside} of {len(percents)} within {self.least:g} to {self.most:g}"]
        if above:
            parts.append(f"{len(above)} above (to {max(above):.1f}): {self.excuse or 'OUTSIDE'}")
        if below:
            parts.append(f"{len(below)} below (from {min(below):.1f}): OUTSIDE")
        return "; ".join(parts), len(below) + (0 if self.excuse else len(above))


def print_judged(*judged: tuple[Limit, Sequence[float]]) -> int:
    """Print a line for each limit. Returns how many figures are outside theirs."""
    outside = 0
    print()
    for limit, percents in judged:
        line, count = limit.judged(percents)
        print(f"- {line}.", flush=True)
        outside += count
    return outside
