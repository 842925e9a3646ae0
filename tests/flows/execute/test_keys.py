"""Keys: a measurement is valid as long as what it read is the same, in whatever format that is."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evals.accuracy.lm_eval_tasks import TaskSpec
from flows.execute.keys import data_identity

ROWS = [
    {
        "id": str(number),
        "question": f"q{number}",
        "choices": {"text": ["x", "y"], "label": ["A", "B"]},
        "answerKey": "A",
    }
    for number in range(3)
]


def _sweep(tasks: tuple[TaskSpec, ...] = (TaskSpec("arc_easy"),), **texts: Any) -> Any:
    plan = SimpleNamespace(data="root", perplexity=[], kl_divergence=[], **texts)
    return SimpleNamespace(plan=plan, tasks=tasks)


def _write(folder: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    (folder / "ARC-Easy").mkdir(parents=True, exist_ok=True)
    file = folder / "ARC-Easy" / f"test.{kind}"
    if kind == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "csv":
        file.write_text("question,answerKey\n" + "".join(f"{row['question']},A\n" for row in rows))
    elif kind == "arrow":
        table = pa.Table.from_pylist(rows)
        with pa.OSFile(str(file), "wb") as out, pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)
    else:
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), file)
    (folder / "README.md").write_text(
        f"---\nconfigs:\n- config_name: ARC-Easy\n  data_files: ARC-Easy/{file.name}\n---\n"
    )
    return file


@pytest.mark.parametrize("kind", ["jsonl", "csv", "arrow", "parquet"])
def test_rewritten_questions_are_another_key(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "allenai" / "ai2_arc"
    _write(folder, kind, ROWS)
    before = data_identity(_sweep(), tmp_path)
    assert data_identity(_sweep(), tmp_path) == before
    _write(folder, kind, [{**row, "question": f"another {row['question']}"} for row in ROWS])
    assert data_identity(_sweep(), tmp_path) != before


def test_a_card_that_names_other_files_is_another_key(tmp_path: Path) -> None:
    folder = tmp_path / "allenai" / "ai2_arc"
    _write(folder, "csv", ROWS[:1])
    _write(folder, "jsonl", ROWS)
    before = data_identity(_sweep(), tmp_path)
    (folder / "README.md").write_text((folder / "README.md").read_text().replace("jsonl", "csv"))
    assert data_identity(_sweep(), tmp_path) != before


def test_data_that_no_task_reads_is_in_no_key(tmp_path: Path) -> None:
    _write(tmp_path / "allenai" / "ai2_arc", "jsonl", ROWS)
    before = data_identity(_sweep(), tmp_path)
    _write(tmp_path / "other" / "data", "jsonl", ROWS)
    (tmp_path / "allenai" / "ai2_arc" / "notes.txt").write_text("mine")
    assert data_identity(_sweep(), tmp_path) == before


def test_a_text_is_in_the_key_of_plans_that_read_it(tmp_path: Path) -> None:
    text = tmp_path / "Salesforce" / "wikitext" / "wikitext-2-raw-v1" / "test-0.parquet"
    text.parent.mkdir(parents=True)
    text.write_bytes(b"a")
    reading = _sweep(())
    reading.plan.perplexity = [object()]
    before, without = data_identity(reading, tmp_path), data_identity(_sweep(()), tmp_path)
    text.write_bytes(b"b")
    assert data_identity(reading, tmp_path) != before
    assert data_identity(_sweep(()), tmp_path) == without
