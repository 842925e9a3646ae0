"""What a sweep is made of: quantizations, engines with their options, and cells, one of each on a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engines.registry import Engine
from engines.types import Attached
from flows.sources.checkpoints import StoredCheckpoint
from flows.sources.model_facts import ModelFacts
from quant.registry import Method
from quant.types import Scheme

WHOLE_KV_CACHES = ("auto", "f16", "bf16", "f32", "float16", "bfloat16", "float32")


@dataclass(frozen=True)
class Quantization:
    """A method with all parameters filled in. `calibration` is (samples, length, seed) where it is used.

    `position` is the entry's place in the plan. `stored` are the checkpoints that parameters name.
    """

    position: int
    method: Method
    label: str
    parameters: Mapping[str, Any]
    scheme: Scheme
    format: str
    calibration: tuple[int, int, int] | None
    stored: Mapping[str, StoredCheckpoint] = field(default_factory=dict)


@dataclass(frozen=True)
class EngineChoice:
    """An engine with all options filled in, and its environment on this device (empty if there is none).

    With `attached`, a server that runs already, there is none to build. `missing` is why it cannot be started here, or
    None. `entry` is its place in the plan, `label` tells it from others of the same engine by their options.
    """

    engine: Engine
    options: Mapping[str, Any]
    environment: str
    attached: Attached | None = None
    missing: str | None = None
    entry: int = field(default=0, compare=False)
    label: str = field(default="", compare=False)

    def environment_for(self, checkpoint_format: str) -> str:
        """The environment in which the engine reads `checkpoint_format`; empty if there is none."""
        return self.environment and self.engine.format_environments.get(checkpoint_format, self.environment)


@dataclass(frozen=True)
class Cell:
    """One row of the report. `unsupported` is the reason why it cannot work, or None."""

    model: ModelFacts
    quantization: Quantization
    choice: EngineChoice
    unsupported: str | None

    @property
    def name(self) -> str:
        return f"{self.quantization.label} · {self.choice.engine.name} {self.choice.label}".strip()

    @property
    def environment(self) -> str:
        """The environment of its engine; empty if there is none."""
        return self.choice.environment_for(self.quantization.format)

    @property
    def computes_exactly(self) -> bool:
        """Whether nothing is rounded to fewer than 16 bits: neither weights nor the KV cache."""
        kv_cache = str(self.choice.options.get("kv_cache_dtype", "auto"))
        return self.quantization.scheme.unquantized and kv_cache in WHOLE_KV_CACHES

    @property
    def place(self) -> str:
        """Where its server is, in a word."""
        return "attached" if self.choice.attached else self.environment or "none"
