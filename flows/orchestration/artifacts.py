"""What Prefect keeps to show of a run: how far it is, its results, its figures, where its report lies."""

from __future__ import annotations

import base64
import os
import re
import time
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote
from uuid import UUID

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from flows.orchestration.api_server import unwatched
from flows.state.progress_display import Advance
from quant.types import Checkpoint
from reports.decision.results import read_results
from reports.output.json_data import as_data

UPDATE_SECONDS = 1.0


def key(*parts: str) -> str:
    """An artifact's name of letters, digits and dashes, as Prefect wants it; equal ones are versions of one thing."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def progress(name: str, stage: str, total: int) -> Advance:
    """A bar of `total` in Prefect, moved at most once a second; nothing where nobody can see it."""
    if unwatched.get() or not total:
        return lambda amount: None
    bar = cast(UUID, create_progress_artifact(0.0, key(name, stage), f"{stage} of {name}"))
    done, shown_at = 0.0, time.monotonic()

    def advance(amount: float) -> None:
        nonlocal done, shown_at
        done += amount
        if done >= total or time.monotonic() - shown_at >= UPDATE_SECONDS:
            shown_at = time.monotonic()
            update_progress_artifact(bar, 100.0 * done / total, f"{done:.0f} of {total} {stage} of {name}")

    return advance


def publish(folder: Path) -> None:
    """Of the run in `folder`: its table, its figures and its answer, with the report's address."""
    if unwatched.get():
        return
    data = as_data(read_results(folder))
    name, report = data["sweep"]["name"], (folder / "report.html").resolve()
    # browsers open no file from a page that came over HTTP: where the folder of the runs is served, that address
    served = os.environ.get("BITFRONTIER_REPORTS_URL")
    address = f"{served.rstrip('/')}/{quote(report.parent.name)}/{report.name}" if served else report.as_uri()
    create_link_artifact(address, str(report), key(name, "report"), f"The whole report of {name}.")
    create_table_artifact([_row(cell) for cell in data["cells"]], key(name, "results"), answer_lines(data))
    pictures = [
        f"![{svg.stem}](data:image/svg+xml;base64,{base64.b64encode(svg.read_bytes()).decode()})"
        for svg in sorted((folder / "figures").glob("*.svg"))
    ]
    if pictures:  # not as image artifacts: those write the whole address of the image below it
        create_markdown_artifact("\n\n".join(pictures), key(name, "figures"), f"The figures of {name}.")


def answer_lines(data: dict[str, Any]) -> str:
    """One line for each model."""
    lines = []
    for answer in data["answers"]:
        if not answer["cell"]:
            lines.append(f"**{as_text(answer['refusal'])}**")
            continue
        chosen = f"**Recommended: {as_text(answer['cell'])}**: {as_text(answer['won'])}"
        notes = [*(f"warning: {caveat}" for caveat in answer["caveats"]), answer["alternative"]]
        lines.append(" · ".join([chosen, *(as_text(note) for note in notes if note)]))
    return "\n\n".join(lines)


def as_text(words: str) -> str:
    """Words of servers, models and tools, of which Markdown makes no link, image, code or HTML, in one line."""
    return re.sub(r"((?<=\])\(|[\\`*_<>])", r"\\\1", " ".join(words.split()))


def _row(cell: dict[str, Any]) -> dict[str, str]:
    """One cell for people; what was not measured is empty."""
    ttft, peak, failure = cell.get("ttft_p50_seconds"), cell.get("peak_memory_bytes"), cell.get("failure")
    reason = f"{failure['kind']}: {failure['cause']}" if failure else cell["reason"]
    return {
        "cell": cell["cell"],
        "status": cell.get("verdict") or cell["status"],
        "output tokens/s": _interval(cell.get("output_tokens_per_second")),
        "TTFT p50, ms": "" if ttft is None else f"{1000 * ttft:.0f}",
        "peak GiB": "" if peak is None else f"{peak / 1024**3:.2f}",
        "accuracy, %": _interval(cell.get("mean_accuracy"), 100.0),
        "perplexity ratio": _interval(cell.get("perplexity_ratio")),
        "reason": reason[:200],
    }


def _interval(estimate: dict[str, float] | None, scale: float = 1.0) -> str:
    return (
        ""
        if estimate is None
        else f"{scale * estimate['value']:.4g} [{scale * estimate['low']:.4g}, {scale * estimate['high']:.4g}]"
    )


def describe(checkpoint: Checkpoint) -> None:
    """A checkpoint that was made by itself."""
    if unwatched.get():
        return
    lines = [
        f"# {checkpoint.spec.method} {checkpoint.spec.scheme.label} of {as_text(checkpoint.model)}",
        f"- {checkpoint.bytes / 1e6:.1f} MB, {checkpoint.bits_per_weight:.2f} bits per weight",
        f"- {checkpoint.seconds['total']:.0f} seconds",
        f"- `{checkpoint.folder}`",
        *(f"- warning: {as_text(warning)}" for warning in checkpoint.warnings),
    ]
    name = key(checkpoint.model, checkpoint.spec.method, checkpoint.spec.scheme.label)
    create_markdown_artifact("\n".join(lines), name, f"{checkpoint.spec.method} of {checkpoint.model}")
