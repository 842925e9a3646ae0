"""Task definitions in a user's own folder, as lm-eval reads them: by its own index. What that leaves out without a word
is an error here, and so is what no key or bundle would hold.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import yaml

from evals.data.local_root import DataError
from evals.tasks.definition_files import FOLDERS, Definition, Loader
from quant.errors import reading

MOST_FILES = 10_000
LEFT_BY_TOOLS = ("__pycache__", ".ipynb_checkpoints")  # which lm-eval skips
NAMING = ("task", "group", "class")


def own_files(own: Path) -> list[Path]:
    """What decides a user's tasks: all files of their folder. Raises DataError for what is no file, and for a folder
    that holds far more than tasks.
    """
    files: list[Path] = []
    for folder, folders, names in os.walk(own):
        folders[:] = sorted(name for name in folders if name not in LEFT_BY_TOOLS)
        files += [Path(folder) / name for name in sorted(names)]
        if len(files) > MOST_FILES:
            raise DataError(f"{own} holds more than {MOST_FILES} files. Give a folder of task definitions alone")
    if other := next((file for file in files if not file.is_file()), None):
        raise DataError(f"{other} is no file, or a link to none. Remove it: all of `tasks_path` decides results")
    return files


def own_definitions(own: Path) -> dict[str, Definition]:
    """By name. Raises DataError naming the file that lm-eval would leave out, and what is wrong with it."""
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    files = [file for file in own_files(own) if file.suffix == ".yaml"]
    includes = {file: _with_includes(file, own) for file in files}
    index = TaskManager(include_defaults=False, include_path=[str(own)]).task_index
    entries = {name: entry for name, entry in index.items() if entry.kind.name != "TAG"}
    taken = {Path(entry.yaml_path) for entry in entries.values()}
    for file in files:
        if file not in taken:
            _require_template(file, entries)
    return {name: _definition(name, entry, includes[Path(entry.yaml_path)]) for name, entry in entries.items()}


def _definition(name: str, entry: Any, read: set[Path]) -> Definition:
    file = Path(entry.yaml_path)
    if entry.kind.name == "GROUP" and not isinstance(entry.cfg.get("task"), list):
        words = f"{file} defines the group '{name}' without a list of tasks"
        raise DataError(f"{words}. Write `task: [NAME, …]`; a task that belongs to others has `tag: {name}`")
    config = {**entry.cfg, FOLDERS: {each.parent for each in read if b"!function" in each.read_bytes()}}
    if entry.kind.name == "GROUP":
        return Definition("group", file, own=config)
    tags = entry.cfg.get("tag") or []
    if not all(isinstance(tag, str) for tag in ([tags] if not isinstance(tags, list) else tags)):
        raise DataError(f"{file}: `tag` is no name. Write a name, or a list of names")
    return Definition("task", file, tuple(sorted(entry.tags)), config)


def _with_includes(file: Path, own: Path) -> set[Path]:
    """A definition and all that it includes. Raises DataError where that is not below the folder, whose files alone are
    in keys and bundles, or cannot be read.
    """
    todo, read = [file.resolve()], set[Path]()
    while todo:
        here = todo.pop()
        if not here.is_relative_to(own.resolve()):
            raise DataError(f"{file} reads {here}, which is outside of {own}. Put it there, or name the folder above")
        if here in read:
            continue
        read.add(here)
        with reading(here, DataError, "Correct this definition"):
            config = yaml.load(here.read_bytes(), Loader=Loader)
            named = config.get("include") or [] if isinstance(config, dict) else []
            todo += [(here.parent / name).resolve() for name in ([named] if isinstance(named, str) else named)]
    return read


def _require_template(file: Path, entries: dict[str, Any]) -> None:
    """Raises DataError where a file that lm-eval leaves out is no template for others, but meant to define a name."""
    from lm_eval.tasks._yaml_loader import load_yaml

    with reading(file, DataError, "Correct this definition: lm-eval leaves it out"):
        config = load_yaml(file, resolve_func=False)
        name = next((config[key] for key in ("group", "task") if key in config), None)
        if isinstance(name, str) and name in entries:
            raise DataError(f"'{name}' is defined in {file} and in {entries[name].yaml_path}. Remove one of them")
        if any(key in config for key in NAMING):
            raise DataError(f"{file}: `task` or `group` is no name. The older form `group: [NAME]` of a task is `tag:`")
