"""Task definitions in a user's own folder, as lm-eval reads them: by its own index. What that leaves out without a word
is an error here, and so is what no key or bundle would hold.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from evals.data.local_root import DataError
from evals.tasks.definition_files import FOLDERS, Definition, Loader
from quant.errors import reading

MOST_FILES = 10_000
# which lm-eval skips, or where no definition of anybody's lies, and what changes without one
LEFT_BY_TOOLS = re.compile(
    r"__pycache__|\.ipynb_checkpoints|\.git|\.hg|\.svn|\.venv|\..*_cache|\.DS_Store|\.#.*|.*\.swp"
)
NAMING = ("task", "group", "class")
FUNCTION = re.compile(rb"!function[ \t]+([\w.]+)\.\w+")


def own_files(own: Path) -> list[Path]:
    """What decides a user's tasks: all files of their folder. Raises DataError for what is no file, and for a folder
    that holds far more than tasks.
    """
    files: list[Path] = []
    for folder, folders, names in os.walk(own):
        folders[:] = sorted(name for name in folders if not LEFT_BY_TOOLS.fullmatch(name))
        files += [Path(folder) / name for name in sorted(names) if not LEFT_BY_TOOLS.fullmatch(name)]
        if link := next((Path(folder) / name for name in folders if (Path(folder) / name).is_symlink()), None):
            raise DataError(f"{link} is a link to a folder. Put the folder itself there: no key holds what it leads to")
        if len(files) > MOST_FILES:
            raise DataError(f"{own} holds more than {MOST_FILES} files. Give a folder of task definitions alone")
    if other := next((file for file in files if not file.is_file()), None):
        raise DataError(f"{other} is no file, or a link to none. Remove it: all of `tasks_path` decides results")
    return files


def own_definitions(own: Path) -> dict[str, Definition]:
    """By name. Raises DataError naming the file that lm-eval would leave out, and what is wrong with it."""
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    everything = own_files(own)
    files = [file for file in everything if file.suffix == ".yaml"]
    includes = {file: _with_includes(file, own) for file in files}
    modules = {file.parent for file in everything if file.suffix == ".py"}
    _require_text_names(files)
    index = TaskManager(include_defaults=False, include_path=[str(own)]).task_index
    entries = {name: entry for name, entry in index.items() if entry.yaml_path in includes}
    taken = {Path(entry.yaml_path) for entry in entries.values()}
    for file in files:
        if file not in taken:
            _require_template(file, index)
    named: dict[str, Definition] = {}
    for name, entry in entries.items():
        named_functions = {_names_functions(file, own) for file in includes[Path(entry.yaml_path)]}
        named[name] = _definition(name, entry, modules if True in named_functions else set())
    return named


def _names_functions(file: Path, own: Path) -> bool:
    """Raises DataError for a function of a module that is not below the folder: no key would hold it."""
    modules = [module.decode() for module in FUNCTION.findall(file.read_bytes())]
    for module in modules:
        place = file.parent / f"{module.replace('.', '/')}.py"
        if not place.is_file() or not place.resolve().is_relative_to(own.resolve()):
            raise DataError(f"{file} names functions of {module}, and {place} is no file of {own}. Put it there")
    return bool(modules)


def _definition(name: str, entry: Any, modules: set[Path]) -> Definition:
    """`modules` are the folders of modules, any of which its functions may import."""
    file = Path(entry.yaml_path)
    if entry.kind.name == "GROUP" and not isinstance(entry.cfg.get("task"), list):
        words = f"{file} defines the group '{name}' without a list of tasks"
        raise DataError(f"{words}. Write `task: [NAME, …]`; a task that belongs to others has `tag: {name}`")
    config = {**entry.cfg, FOLDERS: modules}
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


def _require_text_names(files: Sequence[Path]) -> None:
    """Raises DataError for a name that YAML reads as a number or a truth value: lm-eval's index breaks at it."""
    for file in files:
        config = yaml.load(file.read_bytes(), Loader=Loader)
        for key in NAMING if isinstance(config, dict) else ():
            if isinstance(config.get(key), int | float):
                raise DataError(f"{file}: the name {config[key]} is no text. Put it in quotes")


def _require_template(file: Path, entries: dict[str, Any]) -> None:
    """Raises DataError where a file that lm-eval leaves out is no template for others, but meant to define a name."""
    from lm_eval.tasks._yaml_loader import load_yaml

    with reading(file, DataError, "Correct this definition: lm-eval leaves it out"):
        config = load_yaml(file, resolve_func=False)
        name = next((config[key] for key in ("group", "task") if key in config), None)
        if isinstance(name, str) and name in entries:
            other = entries[name].yaml_path or "a tag of that name"
            raise DataError(f"'{name}' is defined in {file} and in {other}. Remove one of them")
        if any(key in config for key in NAMING):
            raise DataError(f"{file}: `task` or `group` is no name. The older form `group: [NAME]` of a task is `tag:`")
