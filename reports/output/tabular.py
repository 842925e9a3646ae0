"""results.csv and results.parquet: a line for each load of each cell, for spreadsheets and scripts. Columns carry their
units. What each means lies beside the former (W3C, Metadata Vocabulary for Tabular Data, 2015) and in the fields of the
latter.
"""

from __future__ import annotations

import csv
import io
import re
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.schema.trial import Trial
from evals.stats.intervals import Estimate
from quant.canonical_json import whole_file, write_json, write_whole
from reports.decision.results import Results
from reports.metrics.cell import GIB, CellMetrics
from reports.metrics.definitions.table import of_column
from reports.metrics.load import PERCENTS, LoadMetrics
from reports.metrics.needed_memory import needed_memory
from reports.metrics.task_accuracy import task_shots

TRIAL = ("model", "method", "method_label", "engine", "engine_label", "device", "key", "status", "compute_dtype")
CELL = ("cell", *TRIAL, "verdict", "why")
FORMULA = re.compile("(^|;\\s*|(?<=.)\t\\s*)(?=[=+@\t\r\n\uff1d\uff0b\uff0d\uff20-])")
ENDS = {"_low": "Low end of the 95 % interval. ", "_high": "High end of the 95 % interval. "}
LATENCIES = ("ttft", "tpot", "itl", "e2e")


Row = dict[str, Any]


def rows(results: Results) -> list[Row]:
    """Values with the ends of their 95 % intervals (`_low`, `_high`); None is what was not measured. All have all
    columns.
    """
    records = [row for trial in results.trials for row in _rows(results, trial)]
    columns = dict.fromkeys([*CELL, *(name for row in records for name in row)])
    return [{name: row.get(name) for name in columns} for row in records]


def write_csv(records: Sequence[Row], file: Path) -> None:
    """Text that a spreadsheet would take for a formula is kept from it. `FILE-metadata.json` describes the columns."""
    out = io.StringIO(newline="")
    columns = list(records[0]) if records else CELL
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(_no_formula, columns))  # a task's name is one, and comes from a trial
    writer.writerows([_no_formula(row[name]) for name in columns] for row in records)
    write_whole(file, out.getvalue())
    described = [
        {
            "name": urllib.parse.quote(name, safe=""),
            "titles": _no_formula(name),
            "dc:description": described_column(name),
        }
        for name in columns
    ]
    table = {"@context": "http://www.w3.org/ns/csvw", "url": file.name, "tableSchema": {"columns": described}}
    write_json(file.with_name(f"{file.name}-metadata.json"), table)


def described_column(column: str) -> str:
    """What it holds, in a few sentences; empty where nobody knows."""
    definition = of_column(column)
    if definition is None:
        return ""
    end = next((text for ending, text in ENDS.items() if column.endswith(ending)), "")
    return " ".join(filter(None, (f"{end}{definition.label}: {definition.formula}.", definition.sense)))


def _no_formula(value: object) -> object:
    """An apostrophe before such a text (OWASP, CSV injection), also behind what other locales part columns by."""
    return FORMULA.sub(r"\1'", value) if isinstance(value, str) else value


def write_parquet(records: Sequence[Row], file: Path) -> None:
    """The same rows; columns of text, whole numbers and doubles."""
    import pyarrow as pa  # takes longer to import than a small report to write
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(list(records))
    fields = [field.with_metadata({"description": described_column(field.name)}) for field in table.schema]
    with whole_file(file) as out:
        pq.write_table(table.cast(pa.schema(fields)), out)


def _rows(results: Results, trial: Trial) -> Iterator[dict[str, Any]]:
    judged = next((judgement for judgement in results.judged if judgement.cell.trial is trial), None)
    about = {"cell": trial.name, **{name: getattr(trial, name) for name in TRIAL}}
    unmeasured = trial.why if trial.failure else trial.reason
    about |= {"verdict": judged.verdict if judged else "", "why": judged.why if judged else unmeasured}
    if judged is None:
        yield about
        return
    cell = _cell(judged.cell)
    for load in judged.cell.loads:
        yield about | _load(load) | cell


def _cell(cell: CellMetrics) -> dict[str, Any]:
    checkpoint = cell.trial.checkpoint or {}
    needed = needed_memory(cell.trial)
    columns = {
        "startup_seconds": cell.trial.startup_seconds,
        "peak_memory_bytes": cell.peak_bytes,
        "needed_memory_bytes": round(needed.gib.value * GIB) if needed else None,
        "needed_memory_source": needed.source if needed else None,
        "bits_per_weight": checkpoint.get("bits_per_weight"),
        "checkpoint_bytes": checkpoint.get("bytes"),
        **_estimate("mean_accuracy", cell.accuracy),
        **_estimate("accuracy_recovered", cell.recovery),
        **_estimate("perplexity_ratio", cell.perplexity_ratio),
    }
    for task in cell.tasks:
        columns |= _estimate(f"{task.task} {task.metric}", task.estimate)
    return columns | {f"{task} shots": shots for task, shots in task_shots([cell.trial]).items()}


def _load(load: LoadMetrics) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "load": load.load.label,
        "concurrency": load.load.concurrency,
        "rate_per_second": load.load.rate_per_second,
        "prompt_tokens": load.load.prompt_tokens,
        "output_tokens": load.load.output_tokens,
        **_estimate("output_tokens_per_second", load.output_rate),
        **_estimate("requests_per_second", load.request_rate),
    }
    for name in LATENCIES:
        values = getattr(load.latency, name)
        for percent, value in zip(PERCENTS, values or [None] * len(PERCENTS), strict=True):
            columns |= _estimate(f"{name}_p{percent}_seconds", value)
    return columns | {"warnings": "; ".join(load.warnings)}


def _estimate(name: str, estimate: Estimate | None) -> Mapping[str, float | None]:
    figures = (estimate.value, estimate.low, estimate.high) if estimate else (None, None, None)
    return dict(zip((name, f"{name}_low", f"{name}_high"), figures, strict=True))
