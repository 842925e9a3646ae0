"""What lm-eval's definitions say of tasks, and those in a user's own folder, read without importing lm-eval: its index
alone takes 17 CPU-seconds. A test holds all of its names and tags against that index.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import yaml

from engines.runtime.cache import cache_folder, create_cache
from evals.data.local_root import DataError, LocalDataSet
from evals.data.named_files import named_data
from quant.canonical_json import read_note, write_json
from quant.errors import reading

GENERATES = "generate_until"  # the output type of tasks whose answers are written, not chosen
FOLDERS = "folders of functions"  # no key of lm-eval's
MOST_OWN_FILES = 10_000
# the first of each key in a definition names it
_NAME = re.compile(rb'^["\']?(task|group)["\']?[ \t]*:[ \t]*["\']?([^\s"\'#\[]+)["\']?[ \t]*(?:#.*)?\r?$', re.M)
_CLASS = re.compile(rb"^class[ \t]*:", re.M)
# a key with its value: a word, or what is indented or listed below it
_TAG = re.compile(rb'^["\']?tag["\']?[ \t]*:.*(?:\n(?:[ \t]+.*|-.*|[ \t]*))*', re.M)
_INCLUDE = re.compile(rb'^["\']?include["\']?[ \t]*:.*(?:\n(?:[ \t]+.*|-.*|[ \t]*))*', re.M)


@dataclass(frozen=True)
class Definition:
    """Where a name is defined. `own`: in the user's folder."""

    kind: Literal["task", "group"]
    file: Path
    own: bool = False
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskDefaults:
    """What the definitions of a task, or of all leaves of a group, say: their few-shot examples (0 where they name
    none), whether answers are generated, and whether those are run: programs that a model wrote.
    """

    num_fewshot: frozenset[int]
    generates: bool
    runs_answers: bool = False

    @property
    def common_num_fewshot(self) -> int | None:
        """That of all leaves; None where they differ."""
        return next(iter(self.num_fewshot)) if len(self.num_fewshot) == 1 else None


@dataclass(frozen=True)
class Leaf:
    """A task with its whole definition; `file` is None for one that its group alone defines."""

    name: str
    config: Mapping[str, Any]
    file: Path | None
    own: bool = False

    @property
    def own_data(self) -> LocalDataSet | None:
        """The files that a definition of the user's names itself, if it does. Raises DataError."""
        return named_data(self.name, self.config, self.file) if self.own and self.file else None


@dataclass(frozen=True, eq=False)
class TaskIndex:
    """Every name of a task or a group, and the tasks of each tag. `own` is the user's folder, which defines its names
    instead of lm-eval.
    """

    names: Mapping[str, Definition]
    tags: Mapping[str, tuple[str, ...]]
    own: Path | None = None
    defaults_of: dict[str, TaskDefaults] = field(default_factory=dict, repr=False)

    def defaults(self, name: str) -> TaskDefaults:
        """What the definition of a task or group says where a plan says nothing. Raises DataError for a name that is
        not known.
        """
        if name not in self.names:
            raise DataError(f"lm-eval has no task '{name}'. `lm_eval --tasks list` names all tasks, groups and tags")
        if name not in self.defaults_of:
            self.defaults_of[name] = _defaults(list(self.leaves(name)))
        return self.defaults_of[name]

    def expanded(self, name: str) -> tuple[str, ...]:
        """What a plan's name stands for: a tag for its tasks, each of its own, as for lm-eval."""
        return (name,) if name in self.names else self.tags.get(name, (name,))

    def data_sets(self, name: str) -> set[str]:
        """The data sets of the hub that a task, or the leaves of a group, are defined to read: `organisation/name`
        each.
        """
        paths = [str(leaf.config.get("dataset_path") or "") for leaf in self.leaves(name) if leaf.own_data is None]
        return {path for path in paths if path.count("/") == 1}

    def leaves(self, name: str, given: Mapping[str, Any] = {}) -> Iterator[Leaf]:
        """The leaves behind a task, a group or a tag; `given` by the groups above overrides."""
        definition = self.names.get(name)
        if definition is None and name in self.tags:
            for member in self.tags[name]:
                yield from self.leaves(member, given)
        elif definition is None:
            yield Leaf(name, given, None)
        elif definition.kind == "group":
            for member, instead in members(_read(definition.file)):
                yield from self.leaves(member, {**given, **instead})
        else:
            yield Leaf(name, {**_read(definition.file), **given}, definition.file, definition.own)


def task_index(own: Path | None = None) -> TaskIndex:
    """All names of the installed lm-eval, and of the user's `own` folder of definitions. Raises DataError where one of
    those cannot be read.
    """
    known = _of_lm_eval()
    if own is None:
        return known
    with reading(own, DataError, "`tasks_path` names the folder of your task definitions"):
        names = _scan(own_files(own), own=True)
    for definition in names.values():
        _read(definition.file)
    return TaskIndex(
        {**known.names, **names}, {**known.tags, **{tag: tuple(tasks) for tag, tasks in _tags(names).items()}}, own
    )


def own_files(own: Path) -> list[Path]:
    """What decides a user's tasks: all files of their folder, but those that Python and editors leave there. Raises
    DataError for a folder that holds far more than tasks.
    """
    files = list(islice(_files(own), MOST_OWN_FILES + 1))
    if len(files) > MOST_OWN_FILES:
        raise DataError(f"{own} holds more than {MOST_OWN_FILES} files. Give a folder of task definitions alone")
    return files


@cache
def _of_lm_eval() -> TaskIndex:
    """Scanned once per version."""
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("lm-eval is not installed in this environment; run `uv sync`")
    home = Path(spec.submodule_search_locations[0]) / "tasks"
    file = cache_folder() / f"lm-eval-{version('lm-eval')}-index.json"
    if not (listed := read_note(file)):
        names = _scan(_files(home))
        paths = {name: [each.kind, str(each.file.relative_to(home))] for name, each in names.items()}
        listed = {"names": paths, "tags": _tags(names)}
        create_cache()
        write_json(file, listed)
    with reading(file, DataError, "Delete it: it is made again"):
        known = {name: Definition(kind, home / path) for name, (kind, path) in listed["names"].items()}
        return TaskIndex(known, {tag: tuple(tasks) for tag, tasks in listed["tags"].items()})


def _files(home: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(home):
        folders[:] = sorted(name for name in folders if not name.startswith(("__", ".")))
        yield from (Path(folder) / name for name in sorted(files) if not name.startswith("."))


def _scan(files: Iterable[Path], *, own: bool = False) -> dict[str, Definition]:
    """Read the head of all 14,000 definitions: two seconds where the disk is cold."""
    by_name: dict[str, Definition] = {}
    for file in (file for file in files if file.suffix == ".yaml"):
        text = file.read_bytes()
        names = {key.decode(): value.decode() for key, value in reversed(_NAME.findall(text))}
        if "group" in names and not ("task" in names and _CLASS.search(text)):
            by_name[names["group"]] = Definition("group", file, own)
        elif "task" in names:
            by_name.setdefault(names["task"], Definition("task", file, own, _tags_of(file, text)))
    return by_name


def _tags_of(file: Path, text: bytes) -> tuple[str, ...]:
    """The tags of a definition: its own, or else those of what it includes."""
    tags = None
    if key := _TAG.search(text):
        tags = yaml.load(key[0], Loader=_Loader)["tag"]
    elif key := _INCLUDE.search(text):
        tags = _included(file, yaml.load(key[0], Loader=_Loader)["include"]).get("tag")
    return tuple(tags) if isinstance(tags, list) else (tags,) if tags else ()


def _tags(names: Mapping[str, Definition]) -> dict[str, list[str]]:
    """The tasks of each tag, in the order of their names, as lm-eval takes them."""
    tagged: dict[str, list[str]] = {}
    for name in sorted(names):
        for tag in names[name].tags:
            if tag not in names:
                tagged.setdefault(tag, []).append(name)
    return tagged


def _defaults(leaves: Sequence[Leaf]) -> TaskDefaults:
    configs = [leaf.config for leaf in leaves]
    return TaskDefaults(
        frozenset(int(config.get("num_fewshot") or 0) for config in configs),
        any(config.get("output_type") == GENERATES for config in configs),
        any(config.get("unsafe_code") or any(map(_runs_texts, config.get(FOLDERS, ()))) for config in configs),
    )


@cache
def _runs_texts(folder: Path) -> bool:
    """Whether a module of these definitions calls what runs a text: of answers, which any model may give. SymPy's
    `parse_expr` does.
    """
    trees = []
    for file in sorted(folder.glob("*.py")):
        with reading(file, DataError, "Correct it: task definitions name its functions"):
            trees.append(ast.parse(file.read_bytes()))
    calls = [node.func for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {call.id for call in calls if isinstance(call, ast.Name)}
    words = {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return bool(names & {"eval", "exec"} or "parse_expr" in words)


def members(group: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The names of a group's members, with what the group says of each; those of groups defined inside it, too."""
    listed = group.get("task")
    for member in listed if isinstance(listed, list) else []:
        if isinstance(member, str):
            yield member, {}
        elif "group" in member and "task" in member:
            yield from members(member)
        else:
            yield str(member.get("group") or member.get("task")), member


class _Loader(yaml.CSafeLoader):
    """Leaves functions of tasks unread."""


_Loader.add_constructor("!function", lambda loader, node: str(node.value))


def _read(file: Path) -> Mapping[str, Any]:
    """A definition with all that it includes; its own keys win, as lm-eval merges them. Under FOLDERS are those whose
    modules it names functions of. Raises DataError.
    """
    with reading(file, DataError, "Correct this definition"):
        return _parsed(file, file.stat().st_mtime_ns)


@cache
def _parsed(file: Path, written: int) -> Mapping[str, Any]:
    content = file.read_bytes()
    config: dict[str, Any] = yaml.load(content, Loader=_Loader)
    merged = _included(file, config.pop("include", []))
    folders: set[Path] = merged.get(FOLDERS, set())
    return {**merged, **config, FOLDERS: folders | ({file.parent} if b"!function" in content else set())}


def _included(file: Path, names: str | Sequence[str]) -> dict[str, Any]:
    """What a definition includes of others, the later ones winning."""
    merged: dict[str, Any] = {}
    for name in [names] if isinstance(names, str) else names:
        included = _read((file.parent / name).resolve())
        merged |= {**included, FOLDERS: merged.get(FOLDERS, set()) | included[FOLDERS]}
    return merged
