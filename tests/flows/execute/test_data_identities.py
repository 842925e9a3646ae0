"""What decides the evaluation data of each task: every file that it reads, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evals.tasks.loaded_tasks import TaskSpec
from evals.tasks.task_index import task_index
from flows.execute.keys import data_identities
from tests.support.own_tasks import CHOICE, write_own_tasks, write_task

ROWS = [
    {
        "id": str(number),
        "question": f"q{number}",
        "choices": {"text": ["x", "y"], "label": ["A", "B"]},
        "answerKey": "A",
    }
    for number in range(3)
]


def _sweep(tasks: tuple[TaskSpec, ...] = (TaskSpec("arc_easy"),), own_tasks: Path | None = None, **texts: Any) -> Any:
    plan = SimpleNamespace(**{"data": "root", "perplexity": [], "kl_divergence": [], **texts})
    return SimpleNamespace(plan=plan, tasks=tasks, known_tasks=task_index(own_tasks), own_tasks=own_tasks)


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
    before = data_identities(_sweep(), tmp_path)
    assert data_identities(_sweep(), tmp_path) == before
    _write(folder, kind, [{**row, "question": f"another {row['question']}"} for row in ROWS])
    assert data_identities(_sweep(), tmp_path) != before


def test_a_card_that_names_other_files_is_another_key(tmp_path: Path) -> None:
    folder = tmp_path / "allenai" / "ai2_arc"
    _write(folder, "csv", ROWS[:1])
    _write(folder, "jsonl", ROWS)
    before = data_identities(_sweep(), tmp_path)
    (folder / "README.md").write_text((folder / "README.md").read_text().replace("jsonl", "csv"))
    assert data_identities(_sweep(), tmp_path) != before


def test_data_that_no_task_reads_is_in_no_key(tmp_path: Path) -> None:
    _write(tmp_path / "allenai" / "ai2_arc", "jsonl", ROWS)
    before = data_identities(_sweep(), tmp_path)
    _write(tmp_path / "other" / "data", "jsonl", ROWS)
    (tmp_path / "allenai" / "ai2_arc" / "notes.txt").write_text("mine")
    assert data_identities(_sweep(), tmp_path) == before


@pytest.mark.parametrize("root", [True, False])
def test_own_tasks_are_in_their_keys_alone(tmp_path: Path, root: bool) -> None:
    """Definitions, functions and data of their folder, and files elsewhere that they name; whatever the plan's data."""
    _write(tmp_path / "root" / "allenai" / "ai2_arc", "jsonl", ROWS)
    own = write_own_tasks(tmp_path / "mine")
    elsewhere = tmp_path / "elsewhere.jsonl"
    elsewhere.write_text((own / "data" / "test.jsonl").read_text())
    far = {"dataset_kwargs": {"data_files": {"test": str(elsewhere)}}, "training_split": None}
    write_task(own / "far.yaml", **{**CHOICE, **far})

    def identities() -> dict[str, str]:
        tasks = (TaskSpec("capitals"), TaskSpec("towns"), TaskSpec("arc_easy"), TaskSpec("far"))
        sweep = _sweep(tasks, own, data="root" if root else "hub")
        return data_identities(sweep, tmp_path / "root" if root else None)

    before = identities()
    assert identities() == before
    for file, text in ((own / "capitals.yaml", "# x\n"), (own / "functions.py", "x = 1\n")):
        file.write_text((file.read_text() if file.exists() else "") + text)
        assert {name for name, text in identities().items() if text != before[name]} == {"capitals", "towns", "far"}
        before = identities()
    elsewhere.write_text("")
    assert {name for name, text in identities().items() if text != before[name]} == {"far"}


def test_an_own_group_of_lm_evals_tasks_is_in_its_key(tmp_path: Path) -> None:
    own = tmp_path / "mine"
    identities = []
    for group in ({"task": ["arc_easy"]}, {"task": [{"task": "arc_easy", "description": "Answer."}]}):
        write_task(own / "g.yaml", group="g", **group)
        identities.append(data_identities(_sweep((TaskSpec("g"), TaskSpec("arc_easy")), own, data="hub"), None))
    assert identities[0]["g"] != identities[1]["g"]
    assert identities[0]["arc_easy"] == identities[1]["arc_easy"] == "hub"


def test_a_text_is_in_the_key_of_plans_that_read_it(tmp_path: Path) -> None:
    text = tmp_path / "Salesforce" / "wikitext" / "wikitext-2-raw-v1" / "test-0.parquet"
    text.parent.mkdir(parents=True)
    text.write_bytes(b"a")
    reading = _sweep(())
    reading.plan.perplexity = [object()]
    before, without = data_identities(reading, tmp_path), data_identities(_sweep(()), tmp_path)
    assert (set(before), without) == ({"wikitext2"}, {})
    text.write_bytes(b"b")
    assert data_identities(reading, tmp_path) != before
    assert data_identities(_sweep(()), tmp_path) == without
