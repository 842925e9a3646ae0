"""lm-eval's task definitions, untouched, on data from the hub or from a local root of the same shape."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import yaml

from engines.runtime.environments import cache_folder, create_cache
from quant.canonical_json import write_json
from quant.errors import Told

SPLITS = ("training_split", "validation_split", "test_split")
WRAPPER = "bitfrontier_tasks"
# the first of each key in a definition names it; read without lm-eval's own index, which takes 9 CPU-seconds
_NAME = re.compile(rb'^["\']?(task|group)["\']?[ \t]*:[ \t]*["\']?([^\s"\'#\[]+)["\']?[ \t]*(?:#.*)?\r?$', re.M)
_CLASS = re.compile(rb"^class[ \t]*:", re.M)


class DataError(Told):
    """The evaluation data cannot be used; the message names the folder and the fix."""


@dataclass(frozen=True)
class TaskSpec:
    """One task or group of lm-eval by name: `limit` items per leaf task (None is all), `shots` examples."""

    name: str
    limit: int | None = None
    shots: int = 0


@dataclass(frozen=True)
class Definition:
    """Where lm-eval defines a name."""

    kind: Literal["task", "group"]
    file: Path


@dataclass(frozen=True)
class LoadedTasks:
    """Ready tasks: lm-eval's own objects by leaf, its manager, and which items of each leaf the plan asks for.

    `ranks` are the items' places in the random order of their task, over all its leaves.
    """

    manager: Any
    leaves: Mapping[str, Any]
    parents: Mapping[str, str]
    samples: Mapping[str, list[int]]
    ranks: Mapping[str, list[int]]

    def drawn(self, task: str) -> int:
        """How many items the plan asks for of one of its tasks."""
        return sum(len(self.samples[leaf]) for leaf, parent in self.parents.items() if parent == task)

    def ranked(self, wanted: Mapping[str, Collection[int]]) -> dict[str, list[int]]:
        """By leaf, the items of each task in `wanted` that have its ranks."""
        ranks = {task: frozenset(chosen) for task, chosen in wanted.items()}
        return {
            leaf: [
                item for item, rank in zip(self.samples[leaf], self.ranks[leaf], strict=True) if rank in ranks[parent]
            ]
            for leaf, parent in self.parents.items()
            if parent in ranks
        }


@cache
def definitions() -> Mapping[str, Definition]:
    """Every task and group name of the installed lm-eval, without importing it; scanned once per version."""
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("lm-eval is not installed in this environment; run `uv sync`")
    home = Path(spec.submodule_search_locations[0]) / "tasks"
    names = cache_folder() / f"lm-eval-{version('lm-eval')}-names.json"
    if not names.exists():
        create_cache()
        write_json(
            names,
            {
                name: [definition.kind, str(definition.file.relative_to(home))]
                for name, definition in _scan(home).items()
            },
        )
    listed = json.loads(names.read_text(encoding="utf-8"))
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


def dataset_folder(root: Path, hub_name: str) -> Path:
    """The folder of a data set in a local root. A small file that holds a relative path counts as a link:

    that is what git and archives leave of a symbolic link where the file system has none.
    """
    place = root / hub_name
    if place.is_file() and place.stat().st_size < 4096:
        place = (place.parent / place.read_text(encoding="utf-8").strip()).resolve()
    if not place.is_dir():
        raise DataError(f"{root} has no folder {hub_name}; a local root holds <organisation>/<name> as on the hub")
    return place


def _splits(folder: Path) -> set[str]:
    readme = folder / "README.md"
    parts = readme.read_text(encoding="utf-8").split("---") if readme.exists() else []
    if len(parts) < 3:
        raise DataError(f"{folder}: no README.md with a `configs:` block, so its splits are unknown")
    configs = yaml.safe_load(parts[1])["configs"]
    return {entry["split"] for config in configs for entry in config["data_files"]}


def _override(
    spec: TaskSpec, kind: str, config: Mapping[str, Any], root: Path | None, cache_dir: Path
) -> dict[str, Any]:
    """What differs from the definition: where the data is, and null for splits that it has not."""
    item: dict[str, Any] = {kind: spec.name, "num_fewshot": spec.shots}
    if root is None:
        return item
    folder = dataset_folder(root, config["dataset_path"])
    kwargs = {**(config.get("dataset_kwargs") or {}), "cache_dir": str(cache_dir / _folder_digest(folder)[:16])}
    item |= {"dataset_path": str(folder), "dataset_kwargs": kwargs}
    missing = [key for key in SPLITS if config.get(key) and config[key] not in _splits(folder)]
    if missing and spec.shots and not config.get("fewshot_split"):
        raise DataError(
            f"task '{spec.name}' with {spec.shots} shots draws examples from the split "
            f"'{config[missing[0]]}', which {folder} has not; use `shots: 0`"
        )
    return item | dict.fromkeys(missing)


def _folder_digest(folder: Path) -> str:
    """`datasets` keys its cache on a folder's name and README alone; this tells two roots apart."""
    entries = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.rglob("*")) if p.is_file()]
    return hashlib.sha256(repr(entries).encode()).hexdigest()


def load_tasks(specs: Sequence[TaskSpec], root: Path | None, work: Path, *, seed: int) -> LoadedTasks:
    """Load all tasks at once and draw each leaf's items with `seed`. Raises DataError."""
    import datasets
    from lm_eval.tasks import TaskManager

    datasets.disable_progress_bars()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    work.mkdir(parents=True, exist_ok=True)
    known = definitions()
    folders = sorted({str(known[spec.name].file.parent) for spec in specs})
    plain = TaskManager(include_defaults=False, include_path=folders)
    items = [
        _override(spec, known[spec.name].kind, _config(plain, spec.name), root, work / "datasets") for spec in specs
    ]
    wrapper = work / "tasks"
    wrapper.mkdir(exist_ok=True)
    (wrapper / "local.yaml").write_text(yaml.safe_dump({"group": WRAPPER, "task": items}), encoding="utf-8")
    manager = TaskManager(include_defaults=False, include_path=[*folders, str(wrapper)])
    loaded = manager.load([WRAPPER])
    leaves = loaded["tasks"]
    parents = {leaf: _parent(leaf, specs, loaded["group_map"]) for leaf in leaves}
    limits = {spec.name: spec.limit for spec in specs}
    samples = {leaf: _draw(len(task.eval_docs), limits[parents[leaf]], seed) for leaf, task in leaves.items()}
    return LoadedTasks(manager, leaves, parents, samples, _ranks(samples, parents, seed))


def _config(manager: Any, name: str) -> Mapping[str, Any]:
    """A definition with its includes; the first leaf of a group or tag stands for all of it."""
    entry = manager.task_index[name]
    if entry.kind.name == "TAG":
        return _config(manager, min(entry.tags))
    if entry.kind.name != "GROUP":
        return dict(entry.cfg)
    first = entry.cfg["task"][0]
    return _config(manager, first if isinstance(first, str) else first.get("task") or first["group"])


def _parent(leaf: str, specs: Sequence[TaskSpec], group_map: Mapping[str, Sequence[str]]) -> str:
    """The name in the plan that brought this leaf in."""
    names = {spec.name for spec in specs}
    if leaf in names:
        return leaf
    owners = {child: group for group, children in group_map.items() if group != WRAPPER for child in children}
    name = leaf
    while name not in names:
        name = owners[name]
    return name


def _draw(count: int, limit: int | None, seed: int) -> list[int]:
    """Sorted indexes of a sample without replacement; lm-eval mislabels documents of unsorted ones."""
    import numpy as np

    if limit is None or limit >= count:
        return list(range(count))
    return sorted(int(i) for i in np.random.default_rng(seed).choice(count, limit, replace=False))


def _ranks(samples: Mapping[str, Sequence[int]], parents: Mapping[str, str], seed: int) -> dict[str, list[int]]:
    """A random order of each task's items, over all its leaves."""
    import numpy as np

    ranks: dict[str, list[int]] = {}
    for task in sorted(set(parents.values())):
        leaves = sorted(leaf for leaf, parent in parents.items() if parent == task)
        order = iter(np.random.default_rng(seed).permutation(sum(len(samples[leaf]) for leaf in leaves)))
        ranks |= {leaf: [int(next(order)) for _ in samples[leaf]] for leaf in leaves}
    return ranks
