"""What one cell's measurement is on disk: a `Trial` with its raw samples, one JSON file.

Reports recompute every statistic from the raw samples here, so a metric added later works on old runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from engines.parallelism import devices
from evals.schema.accuracy import Perplexity, Predictions, Score
from evals.schema.load import Speed
from evals.schema.migrate import SCHEMA_VERSION
from evals.schema.slo import Search
from quant.types import FLOATS

Status = Literal["ok", "failed", "unsupported"]

Server = tuple[str, str, str]  # model, engine, its options

PSS = "PSS of the server's process tree"
NVML = "NVML, bytes of the server's processes"
SET_ASIDE = "set aside at start"
IN_USE = "highest in use during the load"


@dataclass(frozen=True)
class Memory:
    """Bytes, each from a named source; None where nothing reports it.

    `weights_bytes` and `kv_cache_bytes` as the engine reports them (`kv_source` is IN_USE or SET_ASIDE),
    `kv_bytes_per_token` as `kv_token_source` says. `loaded_bytes` and `peak_bytes` are measured from outside (`source`
    is PSS on a CPU, NVML on a GPU): after loading, and the highest while the load ran. `samples` are (seconds since the
    first one, bytes), of long loads the highest of each span. `later_peaks`: (round, bytes) of a race's later visits.
    """

    source: str
    loaded_bytes: int
    peak_bytes: int
    weights_bytes: int | None
    kv_cache_bytes: int | None
    kv_source: str | None
    kv_bytes_per_token: float | None = None
    kv_token_source: str | None = None
    samples: tuple[tuple[float, int], ...] = ()
    later_peaks: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Gate:
    """A check before measuring: what was compared, and by how much it differed at most."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Failure:
    """Why a cell failed: the kind (`quant.errors.FailureKind`; `docs/reference/failures.md` describes each), the cause
    in a line, what to do about it, the last lines of the log of its server or worker (empty where there is none).
    """

    kind: str
    cause: str
    remedy: str
    log_tail: str = ""


@dataclass(frozen=True)
class Trial:
    """One cell: a model by a method in an engine on a device. `reason` is empty exactly if the status is ok, `failure`
    is what is known of it where the status is failed (None in files of older programs).

    `engine_label` are the options that tell it from cells with other options of the same engine, `model_label` the name
    that tells it from cells of other models; both are empty where nothing needs telling apart.

    `parts` are the keys of what it was put together from, by their names, and `inputs` are what decided each of them,
    and, under "server", all of them (both empty in files of older programs).
    """

    key: str
    status: Status
    reason: str
    model: str
    method: str
    method_label: str
    engine: str
    device: str
    checkpoint: Mapping[str, Any] | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    startup_seconds: float | None = None
    gates: tuple[Gate, ...] = ()
    speed: tuple[Speed, ...] = ()
    searches: tuple[Search, ...] = ()
    memory: Memory | None = None
    scores: tuple[Score, ...] = ()
    perplexities: tuple[Perplexity, ...] = ()
    predictions: tuple[Predictions, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    failure: Failure | None = None
    schema_version: int = SCHEMA_VERSION
    engine_label: str = ""
    model_label: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        parts = (self.model_label, self.method_label, self.served_by)
        return " · ".join(part for part in parts if part)

    @property
    def why(self) -> str:
        """Why it was not measured, in a line: its failure's kind and cause, or the reason; empty where it was."""
        if self.failure:
            return f"{self.failure.kind}: {self.failure.cause}"
        return next(iter(self.reason.splitlines()), "")

    @property
    def served_by(self) -> str:
        """The engine, with the options that tell it apart."""
        return f"{self.engine} {self.engine_label}".strip()

    @property
    def engine_options(self) -> Mapping[str, Any]:
        options: Mapping[str, Any] = self.provenance.get("engine_options") or {}
        return options

    @property
    def compute_dtype(self) -> str:
        """What the engine says that it computes in; empty where it says nothing."""
        return str(self.facts.get("dtype", ""))

    @property
    def devices(self) -> int | None:
        """How many devices it ran on, by its engine's options; None where it was attached to and may run on any."""
        return None if self.provenance.get("attached") else devices(self.engine_options)

    @property
    def server(self) -> Server:
        """Model, engine and the engine's options: what a cell has in common with its baseline."""
        return self.model, self.engine, json.dumps(self.provenance.get("engine_options"), sort_keys=True)

    @property
    def unquantized(self) -> bool:
        """True where the checkpoint's weights were only cast, so that it can be a baseline."""
        return self.checkpoint is not None and self.checkpoint["spec"]["scheme"]["weights"] in FLOATS
