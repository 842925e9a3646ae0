"""What `bitfrontier plan` says of a plan: what is not ours, cells, forecast, tasks, warnings, hints, stale results."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from engines.redaction import redacted_texts
from flows.cli.sweep_command import console, known_run
from flows.execute.prepare import stale_rows
from flows.plan.outside import outside
from flows.race.contenders import race_is_over
from flows.validate.compute_types import added_baselines
from flows.validate.estimate import FIRST_LOOK, Forecast, estimate
from flows.validate.resolved import ResolvedPlan
from flows.validate.tasks import shots_text, template_hints
from quant.errors import counted
from reports.output.formatting import about_duration, duration

COLUMNS = ("cell", "model", "environments", "supported", "≈ s")


def describe_plan(sweep: ResolvedPlan, runs: Path) -> dict[str, Any]:
    """As data for scripts. Keys of cells and parts are None until models and environments are on this machine."""
    guess, known = estimate(sweep, runs), known_run(sweep, runs)
    race = {**asdict(guess.race), "first_seconds": guess.first_seconds} if guess.race else None
    ended = sum(row.file.exists() for row in known.rows) if known else 0
    return {
        "name": sweep.plan.name,
        "device": sweep.device.name,
        "not_ours": [redacted_texts(asdict(entity)) for entity in outside(sweep.plan)],
        "cells": _cells(sweep, guess, known.rows if known else [None] * len(sweep.cells)),
        "estimated_seconds": round(guess.seconds),
        "estimated_factor": round(guess.factor, 2),
        "estimated_bytes": guess.bytes,
        "estimated_from": guess.basis,
        "race": race,
        "ended_before": ended,
        "nothing_left": known is not None and ended == len(known.rows) and race_is_over(known),
        "tasks": list(map(asdict, sweep.tasks)),
        "hints": [
            *template_hints(sweep.plan, sweep.models, sweep.known_tasks),
            *added_baselines(sweep.plan, sweep.cells),
        ],
        "warnings": sweep.warnings,
        "stale": [result.line for result in stale_rows(known).values()] if known else [],
    }


def _cells(sweep: ResolvedPlan, guess: Forecast, rows: Any) -> list[dict[str, Any]]:
    return [
        {
            "cell": cell.name,
            "model": cell.model.name,
            "environments": [cell.quantization.method.environment, cell.place],
            "supported": cell.unsupported is None,
            "reason": cell.unsupported or "",
            "estimated_seconds": round(seconds),
            "key": row and row.key,
            "parts": row and {part.name: part.key for part in row.parts},
        }
        for cell, seconds, row in zip(sweep.cells, guess.cells, rows, strict=True)
    ]


def print_plan(sweep: ResolvedPlan, described: dict[str, Any], *, with_keys: bool) -> None:
    """The same for people, who have read what is not ours."""
    keys = ["key"] if with_keys else []
    table = Table(*COLUMNS, *keys, title=escape(f"{described['name']} on {described['device']}"))
    for row in described["cells"]:
        supported = "yes" if row["supported"] else f"no: {row['reason']}"
        texts = row["cell"], row["model"], " + ".join(row["environments"]), supported, str(row["estimated_seconds"])
        table.add_row(*map(escape, texts), *((row["key"] or "unknown")[:12] for _ in keys))
    console.print(table)
    duration = about_duration(described["estimated_seconds"], described["estimated_factor"])
    lines = [
        f"{duration} and {described['estimated_bytes'] / 1e9:.1f} GB of disk, not counting environments and "
        f"downloads; from {described['estimated_from']}",
        *_race_lines(described["race"]),
        *_before_lines(described),
        f"tasks: {shots_text(sweep.plan, sweep.known_tasks)}; by lm-eval's definitions where the plan names no number",
        *(f"warning: {text}" for text in described["warnings"]),
        *(f"hint: {text}" for text in described["hints"]),
        *described["stale"],
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _race_lines(race: dict[str, Any] | None) -> list[str]:
    if race is None:
        return []
    who = f"{counted(race['cells'], 'cell')}{' and a control' if race['control'] else ''}"
    least, most = (duration(race["first_seconds"] + race[f"{end}_seconds"]) for end in ("least", "most"))
    time = f"in all about {least} if all is decided after round {FIRST_LOOK}, {most} if no cell leaves"
    return [f"race: up to {race['rounds']} rounds of {who}; {time} (the time above lies between these)"]


def _before_lines(described: dict[str, Any]) -> list[str]:
    """What of it a sweep would not measure again; failed cells have ended, too."""
    ended, cells = described["ended_before"], counted(len(described["cells"]), "cell")
    if described["nothing_left"]:
        return [f"all of it ended before ({cells}): a sweep measures nothing again"]
    return [f"{ended} of {cells} ended before; the time above is that of all"] if ended else []
