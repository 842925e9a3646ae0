"""lm-eval's task definitions, untouched, on data from the hub or from a local root of the same shape."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from evals.accuracy.task_definitions import Definition, TaskIndex, members, task_index
from evals.data.local_root import DataError, LocalDataSet, dataset_kwargs, local_data_set
from evals.data.named_files import READERS, named_data
from quant.canonical_json import write_whole

# in the order in which lm-eval looks for few-shot examples
SPLITS = ("fewshot_split", "training_split", "validation_split", "test_split")
WRAPPER = "bitfrontier_tasks"


@dataclass(frozen=True)
class TaskSpec:
    """One task or group of lm-eval by name: `limit` items per leaf task (None is all), `num_fewshot` examples (None is
    what each leaf's definition says).
    """

    name: str
    limit: int | None = None
    num_fewshot: int | None = None

    @property
    def overrides(self) -> dict[str, int]:
        """What replaces keys of the definition."""
        return {} if self.num_fewshot is None else {"num_fewshot": self.num_fewshot}


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

    def only(self, task: str) -> LoadedTasks:
        """One of the plan's tasks alone, with the same items in the same order."""
        leaves = {leaf for leaf, parent in self.parents.items() if parent == task}
        by_leaf = {name: getattr(self, name) for name in ("leaves", "parents", "samples", "ranks")}
        return replace(
            self,
            **{name: {leaf: values[leaf] for leaf in values if leaf in leaves} for name, values in by_leaf.items()},
        )

    def ranked(self, wanted: Mapping[str, Collection[int]]) -> dict[str, list[int]]:
        """By leaf, the items of each task in `wanted` that have its ranks."""
        ranks = {task: frozenset(chosen) for task, chosen in wanted.items()}
        return {
            leaf: [
                number
                for number, rank in zip(self.samples[leaf], self.ranks[leaf], strict=True)
                if rank in ranks[parent]
            ]
            for leaf, parent in self.parents.items()
            if parent in ranks
        }


@dataclass(frozen=True)
class AskedLeaf:
    """A leaf with its whole definition; `only_hub` says why it cannot have data of a local root, if so."""

    name: str
    config: Mapping[str, Any]
    only_hub: str = ""


def task_data(specs: Sequence[TaskSpec], root: Path | None, known: TaskIndex) -> dict[str, LocalDataSet]:
    """What each leaf of these tasks reads of this machine's files: in a local `root` (None is the hub, of which nothing
    is returned), or where its own definition says. Raises DataError.
    """
    manager, _ = _lm_evals_index(specs, known)
    asked = [leaf for spec in specs for leaf in _leaves(manager, spec.name, spec.overrides)]
    return {leaf.name: data for leaf in asked if (data := _data(leaf, root, known)) is not None}


def _data(leaf: AskedLeaf, root: Path | None, known: TaskIndex) -> LocalDataSet | None:
    definition = known.names.get(leaf.name)
    if definition is not None and definition.own and (own := named_data(leaf.name, leaf.config, definition.file)):
        return own
    if root is None:
        return None
    if leaf.only_hub:
        raise DataError(leaf.only_hub)
    return local_data_set(root, leaf.name, leaf.config)


def load_tasks(
    specs: Sequence[TaskSpec], root: Path | None, work: Path, *, seed: int, known: TaskIndex | None = None
) -> LoadedTasks:
    """Load all tasks at once and draw each leaf's items with `seed`. Raises DataError."""
    import datasets
    from lm_eval.tasks import TaskManager

    datasets.disable_progress_bars()
    known = known or task_index()
    plain, folders = _lm_evals_index(specs, known)
    items = [{known.names[spec.name].kind: spec.name, **spec.overrides} for spec in specs]
    written: list[dict[str, Any]] = [{"group": WRAPPER, "task": items}]
    written += _local_leaves(plain, specs, root, known, work / "datasets")
    manager = TaskManager(include_defaults=False, include_path=[*folders, str(_write_folder(written, work))])
    _whole_tags(manager, known)
    loaded = manager.load([WRAPPER])
    leaves = loaded["tasks"]
    parents = {leaf: _parent(leaf, specs, loaded["group_map"]) for leaf in leaves}
    limits = {spec.name: spec.limit for spec in specs}
    samples = {leaf: _draw(len(task.eval_docs), limits[parents[leaf]], seed) for leaf, task in leaves.items()}
    return LoadedTasks(manager, leaves, parents, samples, _ranks(samples, parents, seed))


def _lm_evals_index(specs: Sequence[TaskSpec], known: TaskIndex) -> tuple[Any, list[str]]:
    """lm-eval's manager of the folders that hold these tasks and all members of their groups, and those folders. The
    user's own folder is the last: what it defines stands instead of lm-eval's.
    """
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    own = [] if known.own is None else [str(known.own)]
    folders = _folders_of((spec.name for spec in specs), known)
    while True:
        manager = TaskManager(include_defaults=False, include_path=[*sorted(folders), *own])
        groups = [entry.cfg for entry in manager.task_index.values() if entry.kind.name == "GROUP"]
        elsewhere = _folders_of((name for config in groups for name, _ in members(config)), known) - folders
        if not elsewhere:
            _whole_tags(manager, known)
            return manager, [*sorted(folders), *own]
        folders |= elsewhere


def _folders_of(names: Iterable[str], known: TaskIndex) -> set[str]:
    """The folders of lm-eval that define these tasks and groups and the tasks of these tags."""
    tasks = {task for name in names for task in known.expanded(name)}
    definitions: list[Definition] = [known.names[task] for task in tasks if task in known.names]
    return {str(definition.file.parent) for definition in definitions if not definition.own}


def _whole_tags(manager: Any, known: TaskIndex) -> None:
    """Of folders that are given one by one, lm-eval takes a tag's tasks of the last one alone."""
    for name, entry in manager.task_index.items():
        if entry.kind.name == "TAG":
            entry.tags = {task for task in known.tags.get(name, entry.tags) if task in manager.task_index}


def _leaves(manager: Any, name: str, given: Mapping[str, Any]) -> Iterator[AskedLeaf]:
    """The leaves behind a name with their definitions; `given` and the groups below override."""
    entry = manager.task_index.get(name)
    if entry is None:
        reason = f"task '{name}' is defined by its group alone, so a local root has no data for it"
        yield AskedLeaf(name, dict(given), reason)
    elif entry.kind.name == "TAG":
        for member in sorted(entry.tags):
            yield from _leaves(manager, member, given)
    elif entry.kind.name == "GROUP":
        for member, instead in members(entry.cfg):
            yield from _leaves(manager, member, {**given, **instead})
    else:
        changed = sorted(key for key in given if key.startswith("dataset_"))
        reason = f"task '{name}' gets another {changed[0]} from its group; use `data: hub`" if changed else ""
        yield AskedLeaf(name, {**entry.cfg, **given, "task": name, "yaml_path": entry.yaml_path}, reason)


def _local_leaves(
    manager: Any, specs: Sequence[TaskSpec], root: Path | None, known: TaskIndex, cache_dir: Path
) -> Iterator[dict[str, Any]]:
    """For each leaf with data on this machine, what differs from its definition: those data, and null for splits that
    they have not.
    """
    for leaf in (leaf for spec in specs for leaf in _leaves(manager, spec.name, spec.overrides)):
        data = _data(leaf, root, known)
        if data is None:
            continue
        require_examples(leaf.name, leaf.config, data)
        kwargs = {**dataset_kwargs(leaf.config), "cache_dir": str(cache_dir / data.stamp[:16])}
        path = str(data.folder)
        if leaf.config["dataset_path"] in READERS:
            path = leaf.config["dataset_path"]
            kwargs = {**kwargs, "data_dir": None, "data_files": {s: [*map(str, f)] for s, f in data.files.items()}}
        yield {
            "include": str(leaf.config["yaml_path"]),
            "task": leaf.name,
            "dataset_path": path,
            "dataset_kwargs": kwargs,
            **{key: None for key in SPLITS if leaf.config.get(key) and leaf.config[key] not in data.files},
        }


def require_examples(leaf: str, config: Mapping[str, Any], data: LocalDataSet) -> None:
    """Raises DataError where a leaf is asked with examples, and its data lack the split of those."""
    source = next((key for key in SPLITS if config.get(key)), None)
    if source and config[source] not in data.files and config.get("num_fewshot"):
        raise DataError(
            f"task '{leaf}' with {config['num_fewshot']}-shot prompts draws examples from the split "
            f"'{config[source]}', which {data.folder} has not; use `num_fewshot: 0`"
        )


def _write_folder(definitions: Sequence[Mapping[str, Any]], work: Path) -> Path:
    """A folder of these definitions, in a place of their own: what another plan wrote is never read with them."""
    texts = [yaml.safe_dump(dict(definition)) for definition in definitions]
    folder = work / "tasks" / hashlib.sha256("\n---\n".join(texts).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(texts):
        write_whole(folder / f"{number}.yaml", text)
    return folder


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
