"""lm-eval's task definitions, untouched, on data from the hub or from a local root of the same shape."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from evals.accuracy.task_definitions import definitions, members
from evals.data.local_root import DataError, LocalDataSet, dataset_kwargs, local_data_set
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


def task_data(specs: Sequence[TaskSpec], root: Path) -> dict[str, LocalDataSet]:
    """What each leaf of these tasks reads in a local root. Raises DataError."""
    manager, _ = _index(specs)
    return {leaf: local_data_set(root, leaf, config) for spec in specs for leaf, config in _asked(manager, spec)}


def load_tasks(specs: Sequence[TaskSpec], root: Path | None, work: Path, *, seed: int) -> LoadedTasks:
    """Load all tasks at once and draw each leaf's items with `seed`. Raises DataError."""
    import datasets
    from lm_eval.tasks import TaskManager

    datasets.disable_progress_bars()
    plain, folders = _index(specs)
    items = [{definitions()[spec.name].kind: spec.name, **spec.overrides} for spec in specs]
    written: list[dict[str, Any]] = [{"group": WRAPPER, "task": items}]
    if root is not None:
        written += _local_leaves(plain, specs, root, work / "datasets")
    manager = TaskManager(include_defaults=False, include_path=[*folders, str(_write_folder(written, work))])
    loaded = manager.load([WRAPPER])
    leaves = loaded["tasks"]
    parents = {leaf: _parent(leaf, specs, loaded["group_map"]) for leaf in leaves}
    limits = {spec.name: spec.limit for spec in specs}
    samples = {leaf: _draw(len(task.eval_docs), limits[parents[leaf]], seed) for leaf, task in leaves.items()}
    return LoadedTasks(manager, leaves, parents, samples, _ranks(samples, parents, seed))


def _index(specs: Sequence[TaskSpec]) -> tuple[Any, list[str]]:
    """lm-eval's manager of the folders that hold these tasks and all members of their groups, and those folders."""
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    known = definitions()
    folders = {str(known[spec.name].file.parent) for spec in specs}
    while True:
        manager = TaskManager(include_defaults=False, include_path=sorted(folders))
        groups = [entry.cfg for entry in manager.task_index.values() if entry.kind.name == "GROUP"]
        names = {name for config in groups for name, _ in members(config)} - set(manager.task_index)
        elsewhere = {str(known[name].file.parent) for name in names & set(known)} - folders
        if not elsewhere:
            return manager, sorted(folders)
        folders |= elsewhere


def _asked(manager: Any, spec: TaskSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    return _leaves(manager, spec.name, spec.overrides)


def _leaves(manager: Any, name: str, given: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The leaves behind a name with their definitions; `given` and the groups below override. Raises DataError."""
    entry = manager.task_index.get(name)
    if entry is None:
        raise DataError(f"task '{name}' is defined by its group alone, so a local root has no data for it")
    if entry.kind.name == "TAG":
        for member in sorted(entry.tags):
            yield from _leaves(manager, member, given)
    elif entry.kind.name == "GROUP":
        for member, instead in members(entry.cfg):
            yield from _leaves(manager, member, {**given, **instead})
    elif changed := sorted(key for key in given if key.startswith("dataset_")):
        raise DataError(f"task '{name}' gets another {changed[0]} from its group; use `data: hub`")
    else:
        yield name, {**entry.cfg, **given, "task": name, "yaml_path": entry.yaml_path}


def _local_leaves(manager: Any, specs: Sequence[TaskSpec], root: Path, cache_dir: Path) -> Iterator[dict[str, Any]]:
    """For each leaf, what differs from its definition: its data, and null for splits that it has not."""
    for spec in specs:
        for leaf, config in _asked(manager, spec):
            data = local_data_set(root, leaf, config)
            missing = [key for key in SPLITS if config.get(key) and config[key] not in data.files]
            source = next((key for key in SPLITS if config.get(key)), None)
            if source in missing and config.get("num_fewshot"):
                raise DataError(
                    f"task '{leaf}' with {config['num_fewshot']}-shot prompts draws examples from the split "
                    f"'{config[source]}', which {data.folder} has not; use `num_fewshot: 0`"
                )
            yield {
                "include": str(config["yaml_path"]),
                "task": leaf,
                "dataset_path": str(data.folder),
                "dataset_kwargs": {**dataset_kwargs(config), "cache_dir": str(cache_dir / data.stamp[:16])},
                **dict.fromkeys(missing),
            }


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
