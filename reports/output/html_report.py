"""One self-contained page: the answer first, then figures, all cells, evidence. No network, no clock."""

from __future__ import annotations

import base64
import functools
import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from evals.load.gc_paused import no_collection
from evals.schema.load import DEFINITIONS
from evals.schema.run_file import check_no_links
from quant.canonical_json import finite, write_whole
from reports.compare.runs import Comparison
from reports.decision.frontier.frontiers import Frontier, Standing
from reports.decision.recommend import Answer, balance, refusal
from reports.decision.results import Results, read_results
from reports.decision.rules import BARRED
from reports.decision.use_cases import recommended
from reports.decision.what_decides import POWER, deciding
from reports.metrics.cell import CellMetrics, TaskMetrics
from reports.metrics.cost import costs
from reports.metrics.definitions.table import definitions, of_column
from reports.metrics.engine_drift import drifts
from reports.metrics.needed_memory import needed_memory
from reports.metrics.ratios import DRAWS
from reports.metrics.slo_capacity import capacities, served
from reports.metrics.task_accuracy import task_shots
from reports.output.drawn_frontiers import Draw, drawings, drawn_beside
from reports.output.first_screen import facts, lines, tiles
from reports.output.formatting import FILTERS
from reports.output.index.run_summary import write_summary
from reports.output.interactive_data import page_data
from reports.output.race_view import RaceView, certainty_text, race_view, sure
from reports.output.serve_command import program_line, serve_commands
from reports.output.tabular import rows, write_csv, write_parquet
from reports.sections.crossover import crossings, fastest
from reports.sections.device_scaling import scalings
from reports.sections.durations import forecast_error, spent
from reports.sections.energy import energies
from reports.sections.engine_ratios import Move, moves
from reports.sections.flipped_items import flipped
from reports.sections.memory_footprint import footprints
from reports.sections.published_values import anchored
from reports.sections.roofline import bandwidths, rooflines
from reports.sections.sample_charts import panels
from reports.sections.seed_variation import spreads

logger = logging.getLogger(__name__)

SCRIPTS = (
    "vendor/observable-plot.min.js",
    *("rules.js", "judge.js", "conclude.js", "chart.js", "chart_controls.js", "explain.js"),
    *("latency.js", "tables.js", "address.js", "page.js"),
)


def write_report(folder: Path) -> Path:
    """Write report.html, results.csv, results.parquet, summary.json and figures/*.svg, *.png. The page appears last,
    whole or not at all. Raises LinkInRun before anything is written where one of them is a link.
    """
    check_no_links(folder)
    with no_collection(), drawn_beside(folder / "figures") as draw:
        page = _written(read_results(folder), folder, draw)
    out = folder / "report.html"
    write_whole(out, page)
    logger.info("wrote %s", out)
    return out


def _written(results: Results, folder: Path, draw: Draw) -> str:
    """The page; all besides it is in the folder then."""
    pictures = draw(drawings(results.cells, results.frontiers))
    table, shown = rows(results), contents(results)
    write_csv(table, folder / "results.csv")
    write_parquet(table, folder / "results.parquet")
    write_summary(results, folder)
    return render(shown, pictures())


def render(shown: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """The page of these `contents`. Every text is escaped by Jinja's autoescape; a Content-Security-Policy forbids all
    scripts but ours.

    `pictures`: a PNG in base64 for each plot, by its name, for readers without scripts.
    """
    environment = _environment()
    assert environment.loader is not None
    # the page's own: no text of a trial is in it
    script = Markup("\n".join(environment.loader.get_source(environment, name)[0] for name in SCRIPTS))
    template = environment.get_template("report.html")
    # by which the Content-Security-Policy knows the one script that may run (W3C CSP level 3, section 2.3.1)
    script_hash = "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return template.render(shown, script=script, script_hash=script_hash, pictures=pictures)


def contents(results: Results) -> dict[str, Any]:
    """All that the page shows, by the templates' names for it."""
    page = page_data(results)
    race = race_view(results)
    return {
        "page": page,
        # data for the script, in which nothing can end its element
        "page_json": htmlsafe_json_dumps(
            finite(page), separators=(",", ":"), sort_keys=True, ensure_ascii=False, allow_nan=False
        ),
        "about": results.about,
        "limits": results.limits,
        "slo": results.slo,
        "facts": facts(results),
        "race": race,
        "frontiers": results.frontiers,
        "standings": by_model(results.frontiers),
        "direct": results.direct,
        "compared": results.compared,
        "distances": results.distances,
        "deciding": deciding(results),
        "forecast": forecast_error(results.about, results.trials, results.control),
        "spent": spent(results.trials, results.control),
        "margin": results.limits.equivalence_margin,
        "error_rate": results.about["accuracy"]["error_rate"],
        **_answers(results, race),
        **_cells(results),
        **_serving(results),
        **_words(results),
    }


def _answers(results: Results, race: RaceView | None) -> dict[str, Any]:
    """What is recommended, how sure that is, and how to have it."""
    answers, about = results.answers, results.about
    certainties = race.certainties if race else [None] * len(answers)
    quantizing = [quantize_command(about, answer) for answer in answers]
    pairs = zip(answers, certainties, strict=True)
    return {
        "recommended": recommended(results),
        "answers": answers,
        "tiles": [tiles(results, answer) for answer in answers],
        "certain": [sure(answer, certain, raced=race is not None) for answer, certain in pairs],
        "refusals": [refusal(answer, results.models) for answer in answers],
        "lines": [lines(results, answer) for answer in answers],
        "quantize_commands": quantizing,
        "serving": [serve_commands(about, *pair) for pair in zip(answers, quantizing, strict=True)],
    }


def _cells(results: Results) -> dict[str, Any]:
    """Of each cell: its verdict, its evidence and where that is on the page."""
    cells = {cell.trial.key: cell for cell in results.cells}
    return {
        "trials": results.trials,
        "cells": cells,
        "numbers": {key: number for number, key in enumerate(cells)},
        "anchors": anchors(results),
        "trial_files": dict(zip((t.key for t in results.trials), results.about.get("files", ()), strict=False)),
        "verdicts": {judgement.cell.trial.key: judgement for judgement in results.judged},
        "panels": {trial.key: panels(trial, results.distances) for trial in results.trials if trial.key in cells},
        "flipped": {cell.trial.key: flipped(cell.trial, cell.reference) for cell in results.cells},
        "needed": {key: needed_memory(cell.trial) for key, cell in cells.items()},
        "moves": moves(results.cells),
        "drifts": drifts(results.cells),
        "anchored": anchored(results.cells),
        "seeds": spreads(results.cells, results.distances),
    }


def _serving(results: Results) -> dict[str, Any]:
    """Speed under load, memory, cost and energy."""
    cells, about = results.cells, results.about
    return {
        "footprints": footprints(cells, about.get("memory")),
        "served": served(cells, results.slo),
        "capacities": capacities(cells),
        "costs": costs(cells, about.get("price"), results.slo),
        "scalings": scalings(cells),
        "energies": energies(cells, results.speed_models),
        "rooflines": rooflines(cells),
        "bandwidths": bandwidths(cells),
        "fastest": fastest(results.allowed),
        "crossings": crossings(results.allowed),
    }


def _words(results: Results) -> dict[str, Any]:
    """Columns, definitions and what the templates call by name."""
    return {
        "barred": BARRED,
        "draws": DRAWS,
        "power": POWER,
        "columns": task_columns(results.cells),
        "shots": task_shots(results.trials),
        "latencies": DEFINITIONS,
        "definitions": definitions(),
        "of_column": of_column,
        "balance": balance,
        "find": find_task,
    }


def anchors(results: Results) -> dict[str, str]:
    """Where the evidence of each cell is on the page, by its name: `cell-3` by the script's number, or `failed-0`."""
    measured = [cell.trial.name for cell in results.cells]
    failed = [trial.name for trial in results.trials if trial.name not in measured]
    return {name: f"failed-{number}" for number, name in enumerate(failed)} | {
        name: f"cell-{number}" for number, name in enumerate(measured)
    }


def quantize_command(about: Mapping[str, Any], answer: Answer) -> str:
    """What makes the chosen cell's checkpoint once more; empty where none was chosen."""
    chosen = answer.chosen
    if chosen is None:
        return ""
    root = ["--data-root", about["data_root"]] if about.get("data_root") else []
    sets = [word for text in about.get("changes", {}).get("sets", ()) for word in ("--set", text)]
    words = ["quantize", about.get("file", "PLAN"), chosen.cell.trial.method_label, *root, *sets]
    return program_line(words)


@functools.cache  # with the templates that it has compiled
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports.output"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {**FILTERS, "by_engines": by_engines, "certainty": certainty_text}
    return environment


def render_runs(rows: Sequence[Any], left_out: int) -> str:
    """The page of all runs of a folder, as closed."""
    return _environment().get_template("runs.html").render(rows=rows, left_out=left_out)


def render_comparison(comparison: Comparison) -> str:
    """The page of two runs held against each other, escaped and as closed as the report."""
    return _environment().get_template("compare.html").render(comparison=comparison)


def by_model(frontiers: Sequence[Frontier]) -> list[tuple[list[Frontier], list[tuple[str, list[Standing | None]]]]]:
    """Each model's frontiers, and those of several models, with their cells: each cell's standing on every one; None
    where it lacks a number.
    """
    groups: dict[str, list[Frontier]] = {}
    for frontier in frontiers:
        models = {standing.model for standing in frontier.standings}
        groups.setdefault(" ".join(sorted(models)), []).append(frontier)
    tables = []
    for group in groups.values():
        names = dict.fromkeys(standing.name for frontier in group for standing in frontier.standings)
        places = [{standing.name: standing for standing in frontier.standings} for frontier in group]
        tables.append((group, [(name, [standings.get(name) for standings in places]) for name in names]))
    return tables


def task_columns(cells: Sequence[CellMetrics]) -> list[tuple[str, str]]:
    """(task, metric) of every column, in the plan's order, over all cells."""
    seen: dict[tuple[str, str], None] = {}
    for cell in cells:
        seen |= dict.fromkeys((task.task, task.metric) for task in cell.tasks)
    return list(seen)


def find_task(cell: CellMetrics, column: tuple[str, str]) -> TaskMetrics | None:
    return next((task for task in cell.tasks if (task.task, task.metric) == column), None)


def by_engines(shifts: Sequence[Move]) -> list[tuple[tuple[str, str], list[Move]]]:
    groups: dict[tuple[str, str], list[Move]] = {}
    for move in shifts:
        groups.setdefault((move.before, move.after), []).append(move)
    return list(groups.items())
