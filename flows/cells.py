"""What a sweep is made of: quantizations, engines with their options, and cells, one of each on a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engines.registry import Engine
from engines.spec import Attached
from flows.sources import ModelFacts
from quant.registry import Method
from quant.spec import Scheme


@dataclass(frozen=True)
class Quantization:
    """A method with all parameters filled in. `calibration` is (samples, length, seed) where it is used.

    `position` is the entry's place in the plan.
    """

    position: int
    method: Method
    label: str
    parameters: Mapping[str, Any]
    scheme: Scheme
    calibration: tuple[int, int, int] | None


@dataclass(frozen=True)
class EngineChoice:
    """An engine with all options filled in, and its environment on this device (empty if there is none).

    With `attached`, a server that runs already, there is none to build. `missing` is why a program that is not built
    here cannot be started, or None.
    """

    engine: Engine
    options: Mapping[str, Any]
    environment: str
    attached: Attached | None = None
    missing: str | None = None

    @property
    def place(self) -> str:
        """Where its server is, in a word."""
        return "attached" if self.attached else self.environment or "none"


@dataclass(frozen=True)
class Cell:
    """One row of the report. `unsupported` is the reason why it cannot work, or None."""

    model: ModelFacts
    quantization: Quantization
    choice: EngineChoice
    unsupported: str | None

    @property
    def name(self) -> str:
        return f"{self.quantization.label} · {self.choice.engine.name}"
