"""What one cell's measurement is on disk: a `Trial` with its raw samples, one JSON file.

Reports recompute every statistic from the raw samples here, so a metric added later works on old runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from quant.spec import FLOATS

TRIAL_SCHEMA_VERSION = 1
Status = Literal["ok", "failed", "unsupported"]


@dataclass(frozen=True)
class Request:
    """One streamed completion. Times are seconds on the client's monotonic clock, counted from the load's start.

    `chunks` are (arrival, output tokens so far) of each chunk that brought tokens. `error` is None for a good one.
    """

    sent_seconds: float
    chunks: tuple[tuple[float, int], ...]
    end_seconds: float
    prompt_tokens: int
    output_tokens: int
    error: str | None = None


@dataclass(frozen=True)
class LoadPoint:
    """A closed loop: `concurrency` requests in flight until `requests` are sent, with exact token counts."""

    concurrency: int
    requests: int
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Speed:
    """One load point: the raw requests of every repeat."""

    load: LoadPoint
    repeats: tuple[tuple[Request, ...], ...]


@dataclass(frozen=True)
class Memory:
    """Bytes, each from a named source; None where nothing tells.

    `weights_bytes` and `kv_cache_bytes` as the engine reports them (`kv_source` says whether that is what was used
    or what was set aside). `loaded_bytes` and `peak_bytes` are measured from outside, by PSS of the process tree on
    a CPU and by NVML per process on a GPU (`source`): after loading, and the highest while the load ran.
    """

    source: str
    loaded_bytes: int
    peak_bytes: int
    weights_bytes: int | None
    kv_cache_bytes: int | None
    kv_source: str | None


@dataclass(frozen=True)
class Score:
    """One leaf task. `items` has per item: doc id, and for each metric its value; log-likelihoods where there are.

    `metrics` names the metrics in the order of an item's `values`; `item_keys` are lm-eval's hashes of document and
    prompt, by which two trials are joined.
    """

    task: str
    group: str
    shots: int
    metrics: tuple[str, ...]
    item_keys: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    loglikelihoods: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Perplexity:
    """A text in one named convention: (summed log-likelihood, tokens) of each window or document."""

    convention: str
    text_sha256: str
    window_tokens: int
    windows: tuple[tuple[float, int], ...]


@dataclass(frozen=True)
class Gate:
    """A check before measuring: what was compared, and by how much it differed at most."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Trial:
    """One cell: a model by a method in an engine on a device. `reason` is empty exactly if the status is ok."""

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
    memory: Memory | None = None
    scores: tuple[Score, ...] = ()
    perplexities: tuple[Perplexity, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = TRIAL_SCHEMA_VERSION

    @property
    def name(self) -> str:
        return f"{self.method_label} · {self.engine}"

    @property
    def server(self) -> tuple[str, str, str]:
        """Model, engine and the engine's options: what a cell has in common with its baseline."""
        return self.model, self.engine, json.dumps(self.provenance.get("engine_options"), sort_keys=True)

    @property
    def unquantized(self) -> bool:
        """True where the checkpoint's weights were only cast, so that it can be a baseline."""
        return self.checkpoint is not None and self.checkpoint["spec"]["scheme"]["weights"] in FLOATS


def read_trial(path: Path) -> Trial:
    """Read one trial file. Raises ValueError naming the file where it is not one of this schema version."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    version = raw.get("schema_version")
    if version != TRIAL_SCHEMA_VERSION:
        raise ValueError(f"{path}: schema version {version}, this program reads {TRIAL_SCHEMA_VERSION}")
    return Trial(
        **{
            **raw,
            "gates": tuple(Gate(**one) for one in raw["gates"]),
            "speed": tuple(_speed(one) for one in raw["speed"]),
            "memory": Memory(**raw["memory"]) if raw["memory"] else None,
            "scores": tuple(Score(**{name: _tuples(value) for name, value in one.items()}) for one in raw["scores"]),
            "perplexities": tuple(
                Perplexity(**{name: _tuples(value) for name, value in one.items()}) for one in raw["perplexities"]
            ),
        }
    )


def _speed(raw: Mapping[str, Any]) -> Speed:
    repeats = tuple(
        tuple(Request(**{**one, "chunks": _tuples(one["chunks"])}) for one in repeat) for repeat in raw["repeats"]
    )
    return Speed(LoadPoint(**raw["load"]), repeats)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value
