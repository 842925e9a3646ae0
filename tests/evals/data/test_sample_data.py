"""The sample's request files in small: documents are taken once, in order, and the repeated ones left out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from evals.data.sample_data import REQUESTS, arc_row, read_docs, write_folder


def _requests(tmp_path: Path, ids: list[int]) -> Path:
    folder = tmp_path / REQUESTS / "task"
    folder.mkdir(parents=True)
    lines = "\n".join(json.dumps({"doc_id": i, "doc": {"n": i}}) for i in ids)
    (folder / "requests.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    return tmp_path


def test_each_document_once_and_no_repeats(tmp_path: Path) -> None:
    files = _requests(tmp_path, [0, 0, 0, 1, 1, 2, 1_000_000, 1_000_001])
    assert [doc["n"] for doc in read_docs(files, "task")] == [0, 1, 2]


def test_a_gap_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="document 2 follows 0"):
        list(read_docs(_requests(tmp_path, [0, 2]), "task"))


def test_an_arc_row_has_the_hubs_shape() -> None:
    doc = {"id": "x", "query": "Question: why?\nAnswer:", "choices": ["a", "b", "c"], "gold": 2}
    row = arc_row(doc)
    assert row == {
        "id": "x",
        "question": "why?",
        "choices": {"text": ["a", "b", "c"], "label": ["A", "B", "C"]},
        "answerKey": "C",
    }


def test_equal_data_gives_equal_bytes_and_other_data_another_readme(tmp_path: Path) -> None:
    import pyarrow as pa

    for name, rows in (("one", [1, 2]), ("two", [1, 2]), ("three", [1, 3])):
        write_folder(tmp_path / name, {"default": {"test": pa.table({"n": rows})}})
    texts = [(tmp_path / name / "README.md").read_bytes() for name in ("one", "two", "three")]
    assert texts[0] == texts[1] != texts[2]
