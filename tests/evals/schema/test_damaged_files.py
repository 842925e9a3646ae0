"""Runs and trials that somebody damaged: one line that names the file, and a row where it is a trial's."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from evals.schema.run_file import NoRun, read_run
from evals.schema.trial_file import UnreadableTrial, read_trial, unreadable_row
from tests.support.made_runs import write_run


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", 5),
        ("limits", []),
        ("limits", {"accuracy_recovery": "x"}),
        ("limits", {"accuracy_recovery": float("nan")}),
        ("slo", "x"),
        ("price", 1),
        ("cells", [{}]),
        ("cells", "x"),
        ("versions", {"python": 3}),
        ("forecast", []),
        ("memory", [1]),
        ("trials", [5]),
        ("schema_version", None),
    ],
)
def test_a_run_of_other_types_is_damaged(tmp_path: Path, name: str, value: Any) -> None:
    folder = write_run(tmp_path / "run")
    about = json.loads((folder / "sweep.json").read_text())
    (folder / "sweep.json").write_text(json.dumps({**about, name: value}))
    with pytest.raises(Exception, match=r"sweep\.json: (it is damaged|schema version None)"):
        read_run(folder)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "a\0.json", "x" * 300 + ".json", ""])
def test_a_trial_is_a_file_of_its_folder(tmp_path: Path, name: str) -> None:
    folder = write_run(tmp_path / "run")
    about = json.loads((folder / "sweep.json").read_text())
    (folder / "sweep.json").write_text(json.dumps({**about, "trials": [name]}))
    with pytest.raises(NoRun, match="is not the name of a trial file"):
        read_run(folder)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[" * 100_000, b'{"trials": []', b"1" * 5000])
def test_a_damaged_description(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sweep.json").write_bytes(content)
    with pytest.raises(NoRun, match=r"sweep\.json: it is damaged|names no trials"):
        read_run(tmp_path)


def test_a_pipe_in_place_of_a_run_or_trial(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "sweep.json")
    with pytest.raises(NoRun, match="it is not a regular file"):
        read_run(tmp_path)
    with pytest.raises(UnreadableTrial, match="it is not a regular file"):
        read_trial(tmp_path / "sweep.json")


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000, b"{}", b'{"schema_version": 1, "speed": 5}'])
def test_a_damaged_trial(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "0.json").write_bytes(content)
    with pytest.raises(UnreadableTrial, match=r"0\.json: .*Delete it and sweep again"):
        read_trial(tmp_path / "0.json")


def test_the_row_of_a_trial_that_cannot_be_read(tmp_path: Path) -> None:
    cells = [{"trial": "0.json", "name": "rtn W4A16-g32 · vllm", "model": "m", "checkpoint": None}]
    row = unreadable_row(tmp_path / "0.json", UnreadableTrial("0.json: it is damaged"), {"cells": cells, "device": "d"})
    assert (row.status, row.model, row.name, row.why) == (
        "failed",
        "m",
        "rtn W4A16-g32 · vllm",
        "other: 0.json: it is damaged",
    )
    row = unreadable_row(tmp_path / "1.json", UnreadableTrial("1.json: it is damaged"), {})
    assert row.name == "1"
