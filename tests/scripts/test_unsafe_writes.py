from __future__ import annotations

from pathlib import Path

import pytest

from engines.runtime.own_packages import ROOT
from scripts.unsafe_writes import problems


def test_this_tree_writes_safely() -> None:
    assert problems(ROOT) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('open(file, "w")', "opens a file for writing"),
        ('file.open("ab")', "opens a file for writing"),
        ('open(file, mode="x", encoding="utf-8")', "opens a file for writing"),
        ("os.open(file, os.O_RDONLY)", "opens a file for writing"),
        ('file.write_text("a")', "writes by `write_text`"),
        ("file.write_bytes(b'')", "writes by `write_bytes`"),
        ("np.save(file, rows)", "writes by `save`"),
        ("figure.savefig(folder / 'a.svg')", "writes by `savefig`"),
        ("pq.write_table(table, file)", "writes by `write_table`"),
        ('file.with_suffix(".partial")', "gives an unfinished file or folder a fixed name"),
        ('file.with_name(f"{file.name}.partial.npz")', "gives an unfinished file or folder a fixed name"),
    ],
)
def test_what_writes_by_itself_is_named(line: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows/a.py").write_text(f"def save(file):\n    {line}\n")
    assert problems(tmp_path, {}) == [f"flows/a.py:2: {words}; use quant.canonical_json"]
    assert problems(tmp_path, {"flows/a.py": "a reason"}) == []


@pytest.mark.parametrize(
    "line",
    [
        'open(file); file.open("rb"); open(file, encoding="utf-8")',
        "checkpoint.save(file)",
        "with whole_file(file) as out: pq.write_table(table, out)",
        "buffer = io.BytesIO(); figure.savefig(buffer)",
    ],
)
def test_what_reads_or_writes_safely_is_not(line: str, tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows/a.py").write_text(f"def save(file):\n    {line}\n")
    assert problems(tmp_path, {}) == []
    unused = "flows/a.py: delete its exception, it writes nothing itself"
    assert problems(tmp_path, {"flows/a.py": "a reason"}) == [unused]
