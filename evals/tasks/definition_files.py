"""Definitions of tasks as they lie on the disk. Those of lm-eval are found without importing it: its index alone takes
17 CPU-seconds. A test holds all of their names and tags against that index.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import yaml

from engines.runtime.cache import cache_folder, create_cache
from evals.data.local_root import DataError
from quant.canonical_json import read_note, write_json
from quant.errors import reading

FOLDERS = "folders of functions"  # no key of lm-eval's
# the first of each key in a definition names it
_NAME = re.compile(rb'^["\']?(task|group)["\']?[ \t]*:[ \t]*["\']?([^\s"\'#\[]+)["\']?[ \t]*(?:#.*)?\r?$', re.M)
_CLASS = re.compile(rb"^class[ \t]*:", re.M)
# a key with its value: a word, or what is indented or listed below it
_TAG = re.compile(rb'^["\']?tag["\']?[ \t]*:.*(?:\n(?:[ \t]+.*|-.*|[ \t]*))*', re.M)
_INCLUDE = re.compile(rb'^["\']?include["\']?[ \t]*:.*(?:\n(?:[ \t]+.*|-.*|[ \t]*))*', re.M)


@dataclass(frozen=True, eq=False)
class Definition:
    """Where a name is defined; of a user's own, also the whole of it."""

    kind: Literal["task", "group"]
    file: Path
    tags: tuple[str, ...] = ()
    own: Mapping[str, Any] | None = None

    @property
    def config(self) -> Mapping[str, Any]:
        """With all that it includes. Raises DataError."""
        return read_definition(self.file) if self.own is None else self.own


@cache
def of_lm_eval() -> tuple[Mapping[str, Definition], Mapping[str, tuple[str, ...]]]:
    """All names of the installed lm-eval, and the tasks of each tag; scanned once per version. Raises DataError."""
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("lm-eval is not installed in this environment; run `uv sync`")
    home = Path(spec.submodule_search_locations[0]) / "tasks"
    file = cache_folder() / f"lm-eval-{version('lm-eval')}-index.json"
    if not (listed := read_note(file)):
        names = _scan(home)
        paths = {name: [each.kind, str(each.file.relative_to(home))] for name, each in names.items()}
        listed = {"names": paths, "tags": tasks_by_tag(names)}
        create_cache()
        write_json(file, listed)
    with reading(file, DataError, "Delete it: it is made again"):
        known = {name: Definition(kind, home / path) for name, (kind, path) in listed["names"].items()}
        return known, {tag: tuple(tasks) for tag, tasks in listed["tags"].items()}


def _scan(home: Path) -> dict[str, Definition]:
    """Read the head of all 14,000 definitions: two seconds where the disk is cold."""
    by_name: dict[str, Definition] = {}
    for folder, folders, files in os.walk(home):
        folders[:] = sorted(name for name in folders if not name.startswith(("__", ".")))
        for file in (Path(folder) / name for name in sorted(files) if name.endswith(".yaml")):
            text = file.read_bytes()
            names = {key.decode(): value.decode() for key, value in reversed(_NAME.findall(text))}
            if "group" in names and not ("task" in names and _CLASS.search(text)):
                by_name[names["group"]] = Definition("group", file)
            elif "task" in names:
                by_name.setdefault(names["task"], Definition("task", file, _tags_of(file, text)))
    return by_name


def _tags_of(file: Path, text: bytes) -> tuple[str, ...]:
    """The tags of a definition: its own, or else those of what it includes."""
    tags = None
    if key := _TAG.search(text):
        tags = _value(key[0])
    elif key := _INCLUDE.search(text):
        tags = _included(file.parent, _value(key[0])).get("tag")
    return tuple(tags) if isinstance(tags, list) else (tags,) if tags else ()


@cache
def _value(key: bytes) -> Any:
    """Of a key: the same few hundred, 13,000 times."""
    return next(iter(yaml.load(key, Loader=Loader).values()))


def tasks_by_tag(names: Mapping[str, Definition]) -> dict[str, list[str]]:
    """The tasks of each tag, in the order of their names, as lm-eval takes them."""
    tagged: dict[str, list[str]] = {}
    for name in sorted(names):
        for tag in names[name].tags:
            if tag not in names:
                tagged.setdefault(tag, []).append(name)
    return tagged


def joined(*configs: Mapping[str, Any]) -> dict[str, Any]:
    """Definitions in one, the later ones winning; of all of them the folders of functions."""
    folders: set[Path] = set().union(*(config.get(FOLDERS, ()) for config in configs))
    return {key: value for config in configs for key, value in config.items()} | {FOLDERS: folders}


class Loader(yaml.CSafeLoader):
    """Leaves functions of tasks unread."""


Loader.add_constructor("!function", lambda loader, node: str(node.value))


def read_definition(file: Path) -> Mapping[str, Any]:
    """A definition with all that it includes; its own keys win, as lm-eval merges them. Under FOLDERS are those whose
    modules it names functions of. Raises DataError.
    """
    with reading(file, DataError, "Install lm-eval again"):
        return _parsed(file)


@cache
def _parsed(file: Path) -> Mapping[str, Any]:
    content = file.read_bytes()
    config: dict[str, Any] = yaml.load(content, Loader=Loader)
    folders = {file.parent} if b"!function" in content else set()
    return joined(_included(file.parent, config.pop("include", [])), config, {FOLDERS: folders})


def _included(folder: Path, names: str | Sequence[str]) -> dict[str, Any]:
    """What a definition in `folder` includes of others, the later ones winning."""
    files = (_included_file(folder, name) for name in ([names] if isinstance(names, str) else names))
    return joined(*(read_definition(file) for file in files))


@cache
def _included_file(folder: Path, name: str) -> Path:
    return (folder / name).resolve()
