"""Data that a user's task definition names itself: files for a reader of `datasets`, or a folder, beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evals.data.local_root import DataError, LocalDataSet, dataset_kwargs, described

READERS = ("json", "csv", "parquet", "arrow", "text")  # those of `datasets` that take any files


def named_data(task: str, config: Mapping[str, Any], file: Path) -> LocalDataSet | None:
    """What the definition in `file` reads of its own; None where it names a data set of the hub. Relative names start
    at the definition, so that a folder of tasks can be moved and bundled. Raises DataError naming the task.
    """
    path = str(config.get("dataset_path") or "")
    if path in READERS:
        if not dataset_kwargs(config).get("data_files"):
            raise DataError(f"task '{task}': {file} names no files. Name them by split in dataset_kwargs: data_files")
        return LocalDataSet(file.parent, _data_files(task, dataset_kwargs(config), file))
    folder = file.parent / path
    if path and folder.is_dir():
        return described(folder, task, config)
    if path.startswith((".", "/", "~")) or path.count("/") > 1:
        raise DataError(f"task '{task}': {file} names {path} as its data, and {folder} is no folder")
    return None


def _data_files(task: str, kwargs: Mapping[str, Any], file: Path) -> dict[str, tuple[Path, ...]]:
    """By split, as `datasets` reads its argument `data_files`: what has no split is `train`."""
    given = kwargs["data_files"]
    by_split: Mapping[str, Any] = given if isinstance(given, Mapping) else {"train": given}
    start = file.parent / str(kwargs.get("data_dir") or "")
    return {
        str(split): tuple(_existing(task, name, start, file) for name in ([names] if isinstance(names, str) else names))
        for split, names in by_split.items()
    }


def _existing(task: str, name: str, start: Path, file: Path) -> Path:
    if "://" in name or "::" in name:
        raise DataError(f"task '{task}': {file} names an address in data_files: {name[:100]}. Name a file")
    if not (start / name).is_file():
        words = f"task '{task}': {file} names {name[:100]} in data_files, and {start} has no such file"
        raise DataError(f"{words}. Name each file; patterns are not taken")
    if re.search(r"[*?\[]", str((start / name).resolve())):
        raise DataError(f"task '{task}': `datasets` takes * ? [ in {start / name} for a pattern. Rename it")
    return (start / name).resolve()
