"""A local root of evaluation data: which files a task reads there, by `datasets`' own rules."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from quant.canonical_json import read_regular
from quant.errors import CellFailure, reading

BLOCK = re.compile(r"\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|$)", re.DOTALL)  # of a card, before its text
NAMING_FILES = ("data_files", "data_dir")
CARDS = ("README.md", ".huggingface.yaml")  # where a data set says which files belong to which configuration


class DataError(CellFailure):
    """The evaluation data cannot be used; the message names the folder and the fix."""

    kind = "unusable-data"


@dataclass(frozen=True)
class LocalDataSet:
    """A configuration of a data set in a local root: its folder and the files of each split."""

    folder: Path
    files: Mapping[str, tuple[Path, ...]]

    @property
    def cards(self) -> list[Path]:
        """The files that name the others."""
        return [self.folder / name for name in CARDS if (self.folder / name).is_file()]

    @property
    def stamp(self) -> str:
        """`datasets` keys its cache on a folder's name and README alone; this distinguishes two roots."""
        files = [*self.cards, *(file for files in self.files.values() for file in files)]
        entries = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        return hashlib.sha256(repr(entries).encode()).hexdigest()

    def content(self, hash_file: Callable[[Path], str]) -> list[object]:
        """Digests of everything that decides the rows: what names the files, and the files of each split."""
        splits = [[split, [hash_file(file) for file in files]] for split, files in sorted(self.files.items())]
        return [[hash_file(card) for card in self.cards], splits]


def dataset_folder(root: Path, hub_name: str) -> Path:
    """The folder of a data set in a local root. A small file that holds a relative path counts as a link: that is what
    git and archives leave of a symbolic link where the file system has none.
    """
    place = root / hub_name
    with reading(place, DataError, "Put the folder itself there, or a file that holds its relative path"):
        if place.is_file() and place.stat().st_size < 4096:
            place = (place.parent / read_regular(place).decode().strip()).resolve()
        is_there = place.is_dir()
    if not is_there:
        raise DataError(f"{root} has no folder {hub_name}; a local root holds <organisation>/<name> as on the hub")
    return place


def local_data_set(root: Path, task: str, config: Mapping[str, Any]) -> LocalDataSet:
    """What the task called `task`, defined by `config`, reads in `root`. Raises DataError naming the task."""
    return described(local_folder(root, task, config), task, config)


def local_folder(root: Path, task: str, config: Mapping[str, Any]) -> Path:
    """The folder of its data set. Raises DataError naming the task."""
    if "class" in config or config.get("custom_dataset") or not config.get("dataset_path"):
        raise DataError(f"task '{task}' reads its data by a program of its own, not from a local root; use `data: hub`")
    try:
        return dataset_folder(root, config["dataset_path"])
    except DataError as error:
        raise DataError(f"task '{task}': {error}") from error


def described(folder: Path, task: str, config: Mapping[str, Any]) -> LocalDataSet:
    """The files that `datasets` takes of a folder for the task called `task`. Raises DataError naming the task."""
    _check_cards(folder)
    import datasets

    given = {key: value for key, value in dataset_kwargs(config).items() if key != "cache_dir"}
    try:
        with tempfile.TemporaryDirectory() as cache:  # it makes folders, where rows would be if it read any
            builder = datasets.load_dataset_builder(str(folder), config.get("dataset_name"), cache_dir=cache, **given)
    except (ValueError, OSError, TypeError, KeyError) as error:
        raise DataError(f"task '{task}': {folder} is not a data set that it can read: {error}") from error
    files = builder.config.data_files or {}
    return LocalDataSet(folder, {str(split): tuple(Path(file) for file in files[split]) for split in files})


def _check_cards(folder: Path) -> None:
    """Raises DataError where a card names files that are not in its folder: whose they are would be the choice of
    whoever wrote it, and they would be sent to servers and shown in reports.
    """
    for card in (folder / name for name in CARDS):
        if not card.is_file():
            continue
        with reading(card, DataError, "Correct it, or get the data set again"):
            text = read_regular(card).decode(errors="replace")
            block = BLOCK.match(text)
            text = block[1] if block else text if card.suffix == ".yaml" else ""
            settings = yaml.load(text, Loader=yaml.CSafeLoader) or {}
            for name in _texts([entry.get(key) for entry in settings.get("configs") or [] for key in NAMING_FILES]):
                if "://" in name or "::" in name or Path(name).is_absolute() or ".." in Path(name).parts:
                    raise DataError(f"{card} names files outside of its folder: {name[:100]}. Get the data set again")


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        yield from _texts(item)


def dataset_kwargs(config: Mapping[str, Any]) -> dict[str, Any]:
    """A definition's arguments for `datasets.load_dataset`, without what it does not take any more."""
    return {key: value for key, value in (config.get("dataset_kwargs") or {}).items() if key != "trust_remote_code"}
