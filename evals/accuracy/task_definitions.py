"""What lm-eval's definitions say of tasks, read without importing lm-eval: its index alone takes 9 CPU-seconds."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
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

GENERATES = "generate_until"  # the output type of tasks whose answers are written, not chosen
FOLDERS = "folders of functions"  # no key of lm-eval's
# the first of each key in a definition names it
_NAME = re.compile(rb'^["\']?(task|group)["\']?[ \t]*:[ \t]*["\']?([^\s"\'#\[]+)["\']?[ \t]*(?:#.*)?\r?$', re.M)
_CLASS = re.compile(rb"^class[ \t]*:", re.M)


@dataclass(frozen=True)
class Definition:
    """Where lm-eval defines a name."""

    kind: Literal["task", "group"]
    file: Path


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


@cache
def definitions() -> Mapping[str, Definition]:
    """Every task and group name of the installed lm-eval, without importing it; scanned once per version."""
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("lm-eval is not installed in this environment; run `uv sync`")
    home = Path(spec.submodule_search_locations[0]) / "tasks"
    names = cache_folder() / f"lm-eval-{version('lm-eval')}-names.json"
    if not (listed := read_note(names)):
        listed = {name: [each.kind, str(each.file.relative_to(home))] for name, each in _scan(home).items()}
        create_cache()
        write_json(names, listed)
    with reading(names, DataError, "Delete it: it is made again"):
        return {name: Definition(kind, home / file) for name, (kind, file) in listed.items()}


def _scan(home: Path) -> dict[str, Definition]:
    """Read the head of all 14,000 definitions: two seconds where the disk is cold."""
    by_name: dict[str, Definition] = {}
    for folder, folders, files in os.walk(home):
        folders[:] = sorted(name for name in folders if not name.startswith(("__", ".")))
        for name in sorted(files):
            if name.endswith(".yaml"):
                _add_definition(Path(folder) / name, by_name)
    return by_name


def _add_definition(file: Path, by_name: dict[str, Definition]) -> None:
    text = file.read_bytes()
    names = {key.decode(): value.decode() for key, value in reversed(_NAME.findall(text))}
    if "group" in names and not ("task" in names and _CLASS.search(text)):
        by_name[names["group"]] = Definition("group", file)
    elif "task" in names:
        by_name.setdefault(names["task"], Definition("task", file))


@cache
def task_defaults(name: str) -> TaskDefaults:
    """What lm-eval's definition of a task or group says where a plan says nothing. Raises DataError for a name that it
    does not know.
    """
    if name not in definitions():
        raise DataError(f"lm-eval has no task '{name}'. `lm_eval --tasks list` names all tasks and groups")
    leaves = list(_leaf_configs(name, definitions()[name].file.parent, {}))
    return TaskDefaults(
        frozenset(int(leaf.get("num_fewshot") or 0) for leaf in leaves),
        any(leaf.get("output_type") == GENERATES for leaf in leaves),
        any(leaf.get("unsafe_code") or any(map(_runs_texts, leaf.get(FOLDERS, ()))) for leaf in leaves),
    )


@cache
def _runs_texts(folder: Path) -> bool:
    """Whether a module of these definitions calls what runs a text: of answers, which any model may give. SymPy's
    `parse_expr` does.
    """
    trees = [ast.parse(file.read_bytes()) for file in sorted(folder.glob("*.py"))]
    calls = [node.func for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {call.id for call in calls if isinstance(call, ast.Name)}
    words = {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return bool(names & {"eval", "exec"} or "parse_expr" in words)


def data_sets(name: str) -> set[str]:
    """The data sets of the hub that a task, or the leaves of a group, are defined to read: `organisation/name` each."""
    leaves = _leaf_configs(name, definitions()[name].file.parent, {})
    return {path for leaf in leaves if (path := str(leaf.get("dataset_path") or "")).count("/") == 1}


def _leaf_configs(name: str, folder: Path, given: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The definitions of all leaves behind a name; `given` by the groups above overrides. What is no name itself is a
    tag of definitions below `folder`, where the group is, or defined by the group alone.
    """
    definition = definitions().get(name)
    if definition is None:
        yield from ({**config, **given} for config in _by_tag(folder).get(name, [{}]))
    elif definition.kind == "group":
        for member, instead in members(_read(definition.file)):
            yield from _leaf_configs(member, definition.file.parent, {**given, **instead})
    else:
        yield {**_read(definition.file), **given}


@cache
def _by_tag(folder: Path) -> Mapping[str, list[Mapping[str, Any]]]:
    """The definitions of tasks below `folder` by their tags."""
    tagged: dict[str, list[Mapping[str, Any]]] = {}
    for definition in definitions().values():
        if definition.kind == "task" and definition.file.is_relative_to(folder):
            config = _read(definition.file)
            tags = config.get("tag") or []
            for tag in [tags] if isinstance(tags, str) else tags:
                tagged.setdefault(tag, []).append(config)
    return tagged


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


@cache
def _read(file: Path) -> Mapping[str, Any]:
    """A definition with all that it includes; its own keys win, as lm-eval merges them. Under FOLDERS are those whose
    modules it names functions of.
    """
    content = file.read_bytes()
    config: dict[str, Any] = yaml.load(content, Loader=_Loader)
    included = config.pop("include", [])
    merged: dict[str, Any] = {}
    folders: set[Path] = set()
    for name in included if isinstance(included, list) else [included]:
        merged |= _read((file.parent / name).resolve())
        folders |= merged[FOLDERS]
    return {**merged, **config, FOLDERS: folders | ({file.parent} if b"!function" in content else set())}
