"""How long the rest of a stage will take: forecasts, put right by what was measured in this very sweep."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass
class Remaining:
    """Of pieces of work by their names, each with the seconds that were `forecast` and the engine that does it.

    A forecast is multiplied by the geometric mean of took ÷ forecast of the same engine's pieces, drawn towards that of
    all by the weight of one piece, and that of all towards 1: one slow cell does not speak for the rest.
    """

    forecast: Mapping[str, float]
    engines: Mapping[str, str]
    clock: Callable[[], float] = time.monotonic
    logs: list[tuple[str, float]] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    current: tuple[str, float] | None = None

    def begins(self, name: str) -> None:
        self.current = name, self.clock()

    def elapsed(self) -> float:
        """Seconds of the piece that is being worked on."""
        return self.clock() - self.current[1] if self.current else 0.0

    def ends(self, name: str, took: float | None = None) -> None:
        """`took` seconds; None where they tell nothing of others, since it failed or was there before."""
        self.ended.add(name)
        self.current = None
        forecast = self.forecast.get(name, 0.0)
        if took and forecast > 0:
            self.logs.append((self.engines[name], math.log(took / forecast)))

    def seconds(self) -> float | None:
        """None where nothing is known of what is left."""
        left = [name for name in self.forecast if name not in self.ended]
        if left and not any(self.forecast[name] for name in left):
            return None
        overall = sum(ratio for _, ratio in self.logs) / (len(self.logs) + 1)
        total = 0.0
        for name in left:
            own = [ratio for engine, ratio in self.logs if engine == self.engines[name]]
            expected = self.forecast[name] * math.exp((sum(own) + overall) / (len(own) + 1))
            if self.current and self.current[0] == name:
                expected = max(expected - self.elapsed(), 0.0)
            total += expected
        return total
