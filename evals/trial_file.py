"""Reading trial files: JSON as `quant.spec.write_json` writes it, back into records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evals.record import (
    TRIAL_SCHEMA_VERSION,
    ClientLoad,
    Closeness,
    Failure,
    Gate,
    GpuSamples,
    LoadPoint,
    Memory,
    Perplexity,
    Request,
    Score,
    Search,
    SearchRange,
    ServiceLimits,
    Speed,
    Trial,
)


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
            "searches": tuple(_search(one) for one in raw.get("searches", ())),
            "memory": Memory(**raw["memory"]) if raw["memory"] else None,
            "scores": tuple(Score(**_all_tuples(one)) for one in raw["scores"]),
            "perplexities": tuple(Perplexity(**_all_tuples(one)) for one in raw["perplexities"]),
            "closeness": tuple(Closeness(**_all_tuples(one)) for one in raw["closeness"]),
            "failure": Failure(**raw["failure"]) if raw.get("failure") else None,
        }
    )


def _speed(raw: Mapping[str, Any]) -> Speed:
    repeats = tuple(
        tuple(Request(**{**one, "chunks": _tuples(one["chunks"])}) for one in repeat) for repeat in raw["repeats"]
    )
    clients = tuple(ClientLoad(**_all_tuples(one)) for one in raw.get("clients", ()))
    gpus = tuple(tuple(GpuSamples(**_all_tuples(one)) for one in repeat) for repeat in raw.get("gpus", ()))
    return Speed(LoadPoint(**raw["load"]), repeats, clients, gpus)


def _search(raw: Mapping[str, Any]) -> Search:
    probes = tuple(_speed(one) for one in raw["probes"])
    return Search(SearchRange(**raw["within"]), ServiceLimits(**raw["limits"]), probes)


def _all_tuples(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _tuples(value) for name, value in raw.items()}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value
