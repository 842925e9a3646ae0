"""Data that a user's definition names itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evals.data.local_root import DataError
from evals.data.named_files import named_data
from tests.support.datasets import write_data_root


def _config(data_files: Any, **kwargs: Any) -> dict[str, Any]:
    return {"dataset_path": "json", "dataset_kwargs": {"data_files": data_files, **kwargs}}


@pytest.mark.parametrize(
    ("config", "splits"),
    [
        (_config("a.jsonl"), {"train": ["a.jsonl"]}),
        (_config(["a.jsonl", "b.jsonl"]), {"train": ["a.jsonl", "b.jsonl"]}),
        (_config({"test": "a.jsonl", "train": ["b.jsonl"]}), {"test": ["a.jsonl"], "train": ["b.jsonl"]}),
        (_config({"test": "c.jsonl"}, data_dir="inner"), {"test": ["inner/c.jsonl"]}),
    ],
)
def test_files_start_at_the_definition(tmp_path: Path, config: dict[str, Any], splits: dict[str, list[str]]) -> None:
    (tmp_path / "inner").mkdir()
    for name in ("a.jsonl", "b.jsonl", "inner/c.jsonl"):
        (tmp_path / name).touch()
    data = named_data("mine", config, tmp_path / "mine.yaml")
    assert data is not None
    assert data.files == {split: tuple(tmp_path / name for name in names) for split, names in splits.items()}


def test_a_folder_beside_the_definition_is_read_by_its_card(tmp_path: Path) -> None:
    write_data_root(tmp_path)
    config = {"dataset_path": "root/allenai/ai2_arc", "dataset_name": "ARC-Easy"}
    data = named_data("mine", config, tmp_path / "mine.yaml")
    assert data is not None
    assert set(data.files) == {"validation", "test"}


@pytest.mark.parametrize("config", [{"dataset_path": "allenai/ai2_arc"}, {"dataset_path": "wikitext"}, {}])
def test_other_definitions_name_no_files(tmp_path: Path, config: dict[str, Any]) -> None:
    assert named_data("mine", config, tmp_path / "mine.yaml") is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none.jsonl", r"task 'mine': .*mine\.yaml names none\.jsonl in data_files, and .* has no such file"),
        ("https://127.0.0.1/x.jsonl", r"task 'mine': .*mine\.yaml names an address in data_files: https://127.*Name a"),
        ("zip://x::/etc/passwd", "names an address in data_files"),
    ],
)
def test_what_is_no_file_is_refused(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        named_data("mine", _config({"test": name}), tmp_path / "mine.yaml")


@pytest.mark.parametrize("path", ["./dat", "/no/where", "~/dat", "my/data/set"])
def test_a_folder_that_is_not_there_is_no_name_of_the_hub(tmp_path: Path, path: str) -> None:
    with pytest.raises(DataError, match=rf"mine\.yaml names {path} as its data, and .* is no folder"):
        named_data("mine", {"dataset_path": path}, tmp_path / "mine.yaml")


@pytest.mark.parametrize("kwargs", [{}, {"data_dir": "data"}])
def test_a_reader_without_files_is_refused(tmp_path: Path, kwargs: dict[str, str]) -> None:
    """It would read what lies in the folder that somebody happens to be in."""
    with pytest.raises(DataError, match=r"mine\.yaml names no files\. Name them by split in dataset_kwargs"):
        named_data("mine", {"dataset_path": "csv", "dataset_kwargs": kwargs}, tmp_path / "mine.yaml")


def test_a_place_that_datasets_takes_for_a_pattern_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t[v2]").mkdir()
    (tmp_path / "t[v2]" / "a.jsonl").touch()
    with pytest.raises(DataError, match=r"takes \* \? \[ in .*a\.jsonl for a pattern\. Rename it"):
        named_data("mine", _config({"test": "a.jsonl"}), tmp_path / "t[v2]" / "mine.yaml")
