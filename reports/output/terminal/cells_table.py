"""All cells of a run as a table that fits 100 columns; with every column where all is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from evals.schema.trial import Trial
from reports.decision.results import Results
from reports.metrics.cell import CellMetrics
from reports.metrics.needed_memory import needed_memory
from reports.output.formatting import interval, milliseconds_sure, needed_gib, plus_minus

STYLES = {"meets": "green", "fails": "red", "failed": "red", "inconclusive": "yellow", "unsupported": "dim"}
FIGURES = ("tok/s", "TTFT\nms", "TPOT\nms", "GiB", "accuracy\n%", "ppl\nratio")
RECOMMENDED = "▸ "  # before a cell's name: colours and bold letters are lost in a log
LEFT_OUT_FIRST = ("TPOT\nms", "TTFT\nms", "GiB", "accuracy\n%")  # in a narrow terminal
LEAST_NAME = 24  # columns of a cell's name, which may take two lines
VERDICT = len("inconclusive")
ALL_COLUMNS = ("status", "computes in", "tok/s", "TTFT ms", "TPOT ms", "needed GiB", "bits")
ALL_QUALITY = ("mean accuracy %", "ppl ratio, own engine")


def short_table(results: Results, width: int) -> Table:
    """A line for each cell: its verdict and those of its headline figures for which `width` has room, each whole."""
    cells = {cell.trial.key: cell for cell in results.cells}
    verdicts = {judgement.cell.trial.key: judgement.verdict for judgement in results.judged}
    recommended = _recommended(results)
    figures = {key: dict(zip(FIGURES, _figures(cell), strict=True)) for key, cell in cells.items()}
    shown = _fitting(list(figures.values()), width)
    left_out = [name.replace("\n", " ") for name in FIGURES if name not in shown]
    table = Table(
        Column("cell", overflow="fold", min_width=LEAST_NAME),
        Column("verdict", no_wrap=True),
        *(Column(name, justify="right", no_wrap=True) for name in shown),
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
        caption=_legend(results, left_out),
        caption_justify="left",
    )
    for trial in results.trials:
        verdict = verdicts.get(trial.key, trial.status)
        name = Text(f"{RECOMMENDED}{trial.name}", style="bold") if trial.key in recommended else Text(trial.name)
        row = figures.get(trial.key, {})
        table.add_row(name, Text(verdict, style=STYLES.get(verdict, "")), *(row.get(column, "") for column in shown))
    return table


def _recommended(results: Results) -> set[str]:
    """Keys of trials: a cell of each model at most."""
    return {answer.chosen.cell.trial.key for answer in results.answers if answer.chosen}


def _fitting(rows: Sequence[Mapping[str, str]], width: int) -> list[str]:
    """The columns that there is room for beside a name and a verdict."""
    shown = list(FIGURES)
    for name in LEFT_OUT_FIRST:
        widths = [max(map(len, [*column.split("\n"), *(row[column] for row in rows)])) for column in shown]
        if sum(widths) + len(widths) + LEAST_NAME + VERDICT + 3 <= width:
            break
        shown.remove(name)
    return shown


def _figures(cell: CellMetrics) -> list[str]:
    latency = cell.calmest.latency
    return [
        plus_minus(cell.busiest.output_rate),
        milliseconds_sure(latency.ttft[0]),
        milliseconds_sure(latency.tpot_p50),
        _memory(cell.trial),
        plus_minus(cell.accuracy, 100),
        plus_minus(cell.perplexity_ratio),
    ]


def _memory(trial: Trial) -> str:
    """Needed GiB; two ends where nothing between them is more likely."""
    needed = needed_memory(trial)
    if needed is None:
        return "–"
    value, low, high = needed.gib.value, needed.gib.low, needed.gib.high
    return plus_minus(needed.gib) if low < value < high else f"{low:.2f}–{high:.2f}" if low < high else f"{value:.2f}"


def _legend(results: Results, left_out: Sequence[str]) -> str:
    """Under which loads the figures were measured, what ± is, and what is not shown."""
    if not results.cells:
        return ""
    busiest = {cell.busiest.load.label for cell in results.cells}
    calmest = {cell.calmest.load.label for cell in results.cells}
    parts = []
    if len(busiest) == len(calmest) == 1:
        at = "" if busiest == calmest else f" at {busiest.pop()};"
        parts = [f"tok/s{at or ','} median TTFT, TPOT at {calmest.pop()}; needed GiB"]
    parts += [
        "ppl ratio: to the unquantized model in the same engine",
        "±, −a/+b: 95 % interval",
        *([f"{RECOMMENDED.strip()}: recommended"] if _recommended(results) else []),
        *([f"no room for {', '.join(left_out)}"] if left_out else []),
    ]
    return escape("; ".join(parts))


def full_table(results: Results) -> Table:
    """A line for each cell: all its headline figures with the ends of their intervals, or why it has none."""
    table = Table(Column("cell", no_wrap=True), *ALL_COLUMNS, *ALL_QUALITY, box=box.SIMPLE)
    cells = {cell.trial.key: cell for cell in results.cells}
    verdicts = {judgement.cell.trial.key: judgement.verdict for judgement in results.judged}
    recommended = _recommended(results)
    for trial in results.trials:
        cell = cells.get(trial.key)
        if cell is None:
            status = f"{trial.status}: {trial.failure.kind}" if trial.failure else trial.status
            table.add_row(escape(trial.name), escape(status))
            continue
        latency, bits = cell.calmest.latency, (trial.checkpoint or {})["bits_per_weight"]
        table.add_row(
            f"{RECOMMENDED if trial.key in recommended else ''}{escape(trial.name)}",
            verdicts[trial.key],
            escape(trial.compute_dtype or "–"),
            interval(cell.busiest.output_rate),
            milliseconds_sure(latency.ttft[0]),
            milliseconds_sure(latency.tpot_p50),
            needed_gib(trial),
            f"{bits:.2f}",
            interval(cell.accuracy, 100),
            interval(cell.perplexity_ratio),
        )
    return table
