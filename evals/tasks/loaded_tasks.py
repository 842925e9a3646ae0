"""lm-eval's task definitions, untouched, on data from the hub or from a local root of the same shape."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from evals.data.local_root import DataError, LocalDataSet, dataset_kwargs, local_data_set
from evals.data.named_files import READERS
from evals.tasks.task_index import Leaf, TaskIndex, task_index
from quant.canonical_json import write_whole
from quant.errors import reading

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


def task_data(specs: Sequence[TaskSpec], root: Path | None, known: TaskIndex) -> dict[str, LocalDataSet]:
    """What each leaf of these tasks reads of this machine's files: in a local `root` (None is the hub, of which nothing
    is returned), or where its own definition says. Raises DataError.
    """
    leaves = [leaf for spec in specs for leaf in known.leaves(spec.name, spec.overrides)]
    return {leaf.name: data for leaf in leaves if (data := data_of(leaf, root)) is not None}


def data_of(leaf: Leaf, root: Path | None) -> LocalDataSet | None:
    """The files of this machine that a leaf reads, with all splits that it asks for; None for the hub's, and for what a
    user's definition reads by a program. Raises DataError.
    """
    if (named := leaf.own_data) is not None:
        with reading(leaf.file, DataError, "Correct this definition"):
            _require_splits(leaf, named)
        return named
    if root is None or (leaf.own and leaf.by_program):
        return None
    if leaf.file is None:
        raise DataError(f"task '{leaf.name}' is defined by its group alone, so a local root has no data for it")
    if leaf.other_data:
        raise DataError(f"task '{leaf.name}' gets another {leaf.other_data} from its group; use `data: hub`")
    data = local_data_set(root, leaf.name, leaf.config)
    source = _examples_of(leaf.config)
    if source and source not in data.files and leaf.config.get("num_fewshot"):
        raise DataError(
            f"task '{leaf.name}' with {leaf.config['num_fewshot']}-shot prompts draws examples from the split "
            f"'{source}', which {data.folder} has not; use `num_fewshot: 0`"
        )
    return data


def _require_splits(leaf: Leaf, data: LocalDataSet) -> None:
    """Raises DataError where a definition of the user's names a split that its files have not, as lm-eval would."""
    for split in [*(leaf.config[key] for key in SPLITS if leaf.config.get(key)), _examples_of(leaf.config)]:
        if split and split not in data.files:
            words = f"task '{leaf.name}': {leaf.file} names the split '{split}'"
            raise DataError(
                f"{words}, and its data have {', '.join(sorted(data.files))}. Correct it, or set it to null"
            )


def _examples_of(config: Mapping[str, Any]) -> str:
    """The split that examples are drawn from; none where a definition gives them itself."""
    given = config.get("fewshot_config") or {}
    if given.get("samples"):
        return ""
    return str(given.get("split") or next((config[key] for key in SPLITS if config.get(key)), ""))


def load_tasks(
    specs: Sequence[TaskSpec], root: Path | None, work: Path, *, seed: int, known: TaskIndex | None = None
) -> LoadedTasks:
    """Load all tasks at once and draw each leaf's items with `seed`. Raises DataError."""
    import datasets
    from lm_eval.tasks import TaskManager

    datasets.disable_progress_bars()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    known = known or task_index()
    items = [{known.names[spec.name].kind: spec.name} for spec in specs]
    written: list[dict[str, Any]] = [{"group": WRAPPER, "task": items}]
    written += _local_leaves(specs, root, known, work / "datasets")
    include = [*_folders(specs, known), str(_write_folder(written, work))]
    manager = TaskManager(include_defaults=False, include_path=include)
    for name, entry in manager.task_index.items():
        if entry.kind.name == "TAG":  # of folders given one by one, lm-eval takes a tag's tasks of the last one alone
            entry.tags = {task for task in known.tags.get(name, entry.tags) if task in manager.task_index}
    loaded = manager.load([WRAPPER])
    leaves = loaded["tasks"]
    parents = {leaf: _parent(leaf, specs, loaded["group_map"]) for leaf in leaves}
    by_name = {spec.name: spec for spec in specs}
    for leaf, task in leaves.items():
        for key, value in by_name[parents[leaf]].overrides.items():
            task.set_config(key, value)  # over what groups say of their members, as lm-eval's own option
    samples = {leaf: _draw(len(task.eval_docs), by_name[parents[leaf]].limit, seed) for leaf, task in leaves.items()}
    return LoadedTasks(manager, leaves, parents, samples, _ranks(samples, parents, seed))


def _folders(specs: Sequence[TaskSpec], known: TaskIndex) -> list[str]:
    """Those that define these tasks, their groups and all members. The user's own is the last: what it defines stands
    in place of lm-eval's.
    """
    leaves = [leaf for spec in specs for leaf in known.leaves(spec.name)]
    folders = {str(each.file.parent) for leaf in leaves for each in leaf.definitions if each.own is None}
    return [*sorted(folders), *([] if known.own is None else [str(known.own)])]


def _local_leaves(
    specs: Sequence[TaskSpec], root: Path | None, known: TaskIndex, cache_dir: Path
) -> Iterator[dict[str, Any]]:
    """For each leaf with data on this machine, what differs from its definition: those data, and null for splits that
    a local root has not.
    """
    for leaf in (leaf for spec in specs for leaf in known.leaves(spec.name, spec.overrides)):
        if (data := data_of(leaf, root)) is None:
            continue
        kwargs = {**dataset_kwargs(leaf.config), "cache_dir": str(cache_dir / data.stamp[:16])}
        path = str(data.folder)
        if leaf.own and leaf.config["dataset_path"] in READERS:
            path = leaf.config["dataset_path"]
            kwargs = {**kwargs, "data_dir": None, "data_files": {s: [*map(str, f)] for s, f in data.files.items()}}
        yield {
            "include": str(leaf.file),
            "task": leaf.name,
            "dataset_path": path,
            "dataset_kwargs": kwargs,
            **{key: None for key in SPLITS if leaf.config.get(key) and leaf.config[key] not in data.files},
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
