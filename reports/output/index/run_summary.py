"""`summary.json` of a run: what its report concluded, in a few lines, for the page of all runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from quant.canonical_json import finite, read_regular, write_json
from quant.errors import BitfrontierError, counted, program, reading
from reports.decision.ranking import place_of
from reports.decision.recommend import refusal
from reports.decision.results import Results
from reports.output.first_screen import tiles
from reports.output.formatting import figure_text
from reports.output.race_view import race_view, sure

SUMMARY_FILE = "summary.json"
MOST_BYTES = 1_000_000
Text = Annotated[str, Field(max_length=4000)]
Figure = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class AnswerSummary:
    """Of one model: the recommended cell with its figure (`value`, None where it is none), at which load, and what it
    lost in quality; or why there is none.
    """

    model: Text
    cell: Text = ""
    refusal: Text = ""
    figure_text: Text = ""
    value: Figure | None = None
    unit: Text = ""
    at: Text = ""
    sure: Text = ""
    quality: Text = ""


@dataclass(frozen=True)
class RunSummary:
    """`measured`: when its newest cell was begun (UTC), empty where that is not known. `cells` by their status."""

    plan: Text
    machine: Text
    measured: Annotated[str, Field(pattern=r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)?$")]
    cells: dict[Text, int]
    answers: Annotated[tuple[AnswerSummary, ...], Field(max_length=100)]


SUMMARY = TypeAdapter(RunSummary)


class UnreadableSummary(BitfrontierError):
    """A run's summary is damaged, or of another program."""


def write_summary(results: Results, folder: Path) -> None:
    """Write the summary of a run that has a report."""
    origins = [trial.provenance.get("measured") or {} for trial in results.trials]
    summary = RunSummary(
        plan=str(results.about["name"])[:4000],
        machine=f"{results.about['device']}, {counted(results.about['threads'], 'thread')}"[:4000],
        measured=max((str(origin["started"]) for origin in origins if origin.get("started")), default=""),
        cells=dict(Counter(trial.status for trial in results.trials)),
        answers=tuple(_answers(results)),
    )
    write_json(folder / SUMMARY_FILE, finite(asdict(summary)))


def _answers(results: Results) -> Iterator[AnswerSummary]:
    race = race_view(results)
    certainties = race.certainties if race else [None] * len(results.answers)
    for answer, certain in zip(results.answers, certainties, strict=True):
        if answer.chosen is None or answer.won is None:
            yield AnswerSummary(answer.model[:4000], refusal=refusal(answer, results.models)[:4000])
            continue
        # as its tile on the report's first screen says it
        quality = next((tile.value for tile in tiles(results, answer) if tile.label == "Quality lost"), "")
        quality = quality.replace("\n", ", ")
        yield AnswerSummary(
            model=answer.model[:4000],
            cell=answer.chosen.cell.trial.name[:4000],
            figure_text=figure_text(answer)[:4000],
            value=answer.won.figure.value,
            unit=answer.objective.unit,
            at=place_of(answer.won, answer.aim)[:4000],
            sure=sure(answer, certain, raced=race is not None),
            quality=quality[:4000],
        )


def read_summary(folder: Path) -> RunSummary | None:
    """None where no report was written by a program that makes one. Raises UnreadableSummary, also where a link is in
    its place: what it leads to may be anybody's.
    """
    file = folder / SUMMARY_FILE
    if file.is_symlink():
        raise UnreadableSummary(f"{file.name} is a link, which is not followed. Delete it, then `{program()} report`")
    with reading(file.name, UnreadableSummary, f"Run `{program()} report` on this run", "it is damaged"):
        try:
            return SUMMARY.validate_python(json.loads(read_regular(file, MOST_BYTES)), strict=False)
        except FileNotFoundError:
            return None
