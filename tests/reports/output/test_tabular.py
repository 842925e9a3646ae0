"""results.csv: what a spreadsheet or a script reads."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evals.schema.trial import Trial
from quant.canonical_json import write_json
from reports.decision.results import conclude
from reports.output.html_report import write_report
from reports.output.tabular import rows, write_csv, write_parquet
from tests.support.made_trials import ABOUT, failed, speed, trial


def _read(folder: Path, *trials: Trial) -> list[dict[str, str]]:
    write_csv(rows(conclude(ABOUT, trials)), folder / "results.csv")
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_line_for_each_load_and_for_what_was_not_measured(tmp_path: Path) -> None:
    base = replace(trial("none", 10, 2.0, 80), speed=(speed(10, 1), speed(30, 4)))
    bad = failed("rtn", 'the kernel said "no", and\nended')
    single, four, none = _read(tmp_path, base, bad)
    assert (single["load"], four["load"]) == ("concurrency 1", "concurrency 4")
    assert float(single["output_tokens_per_second"]) == pytest.approx(10, rel=0.01)
    low, high = float(single["output_tokens_per_second_low"]), float(single["output_tokens_per_second_high"])
    assert low < 10 < high
    assert float(single["mean_accuracy"]) == 0.8
    assert float(four["arc accuracy"]) == 0.8
    assert float(single["peak_memory_bytes"]) == 2 * 1024**3
    assert float(single["ttft_p95_seconds"]) == pytest.approx(0.1, rel=0.05)
    assert (none["status"], none["why"]) == ("failed", 'the kernel said "no", and\nended')
    assert none["output_tokens_per_second"] == ""
    assert (single["verdict"], none["verdict"]) == ("baseline", "")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_no_text_becomes_a_formula(tmp_path: Path, text: str) -> None:
    (row,) = _read(tmp_path, failed(text, text))
    assert row["method"] == row["why"] == f"'{text}"


def test_parquet_holds_the_same_in_columns_of_one_type(tmp_path: Path) -> None:
    base = replace(trial("none", 10, 2.0, 80), speed=(speed(10, 1), speed(30, 4)))
    results = rows(conclude(ABOUT, [base, failed("=rtn", "it broke")]))
    write_parquet(results, tmp_path / "results.parquet")
    table = pq.read_table(tmp_path / "results.parquet")
    assert table.to_pylist() == results
    assert [row["method"] for row in results] == ["none", "none", "=rtn"]  # nothing here is a formula
    assert str(table.schema.field("output_tokens_per_second").type) == "double"
    assert str(table.schema.field("peak_memory_bytes").type) == "int64"


def test_every_column_is_described_beside_the_table_and_in_the_parquet_file(tmp_path: Path) -> None:
    (row,) = _read(tmp_path, trial("none", 10, 2.0, 80))
    described = json.loads((tmp_path / "results.csv-metadata.json").read_text(encoding="utf-8"))
    assert described["@context"] == "http://www.w3.org/ns/csvw"
    assert described["url"] == "results.csv"
    columns = described["tableSchema"]["columns"]
    assert [column["titles"] for column in columns] == list(row)
    texts = {column["titles"]: column["dc:description"] for column in columns}
    assert all(texts.values())
    assert texts["ttft_p99_seconds_low"].startswith("Low end of the 95 % interval. TTFT: first token − sent")
    assert texts["ttft_p99_seconds_low"].endswith("Unit: s (page: ms); lower is better.")
    assert next(column["name"] for column in columns if column["titles"] == "arc accuracy") == "arc%20accuracy"
    write_parquet(rows(conclude(ABOUT, [trial("none", 10, 2.0, 80)])), tmp_path / "results.parquet")
    fields = pq.read_schema(tmp_path / "results.parquet")
    assert {field.name: field.metadata[b"description"].decode() for field in fields} == texts


def test_a_run_without_a_cell_has_its_columns(tmp_path: Path) -> None:
    write_csv([], tmp_path / "results.csv")
    assert (tmp_path / "results.csv").read_text().startswith("cell,model,method,")


def test_it_lies_beside_the_report(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    write_json(tmp_path / "trials" / "0.json", trial("none", 10, 2.0, 80))
    write_json(tmp_path / "sweep.json", {**ABOUT, "trials": ["0.json"]})
    write_report(tmp_path)
    first, table = (tmp_path / "results.csv").read_bytes(), (tmp_path / "results.parquet").read_bytes()
    write_report(tmp_path)
    assert (tmp_path / "results.csv").read_bytes() == first
    assert (tmp_path / "results.parquet").read_bytes() == table
    assert first.startswith(b"cell,model,method,")


def test_no_task_is_a_formula_in_the_line_of_columns(tmp_path: Path) -> None:
    """Its name comes from a trial, which may be somebody else's."""
    made = trial("none", 10, 2.0, 80)
    name = '=HYPERLINK("http://127.0.0.1")'
    (row,) = _read(
        tmp_path, replace(made, scores=tuple(replace(score, task=name, group=name) for score in made.scores))
    )
    assert [column for column in row if column.startswith("=")] == []
    assert f"'{name} accuracy" in row


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a;=1+1", "a;'=1+1"), ("a\t@b", "a\t'@b"), ("\uff1d1", "'\uff1d1"), ("\n=1", "'\n=1"), ("a-b; c", "a-b; c")],
)
def test_no_text_becomes_a_formula_where_others_part_columns(tmp_path: Path, text: str, shown: str) -> None:
    """By semicolons, where the comma is the decimal sign; full-width signs are formulas' too (OWASP)."""
    (row,) = _read(tmp_path, failed("rtn", text))
    assert row["why"] == shown
