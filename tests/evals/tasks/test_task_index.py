from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lm_eval.tasks
import lm_eval.tasks._factory
import pytest
from lm_eval.api.group import Group
from lm_eval.tasks import TaskManager
from lm_eval.tasks._factory import GROUP_FIELD_NAMES, TaskFactory
from lm_eval.tasks._yaml_loader import load_yaml

from evals.data.local_root import DataError
from evals.tasks.definition_files import of_lm_eval
from evals.tasks.task_index import GROUP_KEYS, _of_lm_eval, task_index
from tests.support.own_tasks import write_own_tasks, write_task


def test_names_are_known_without_importing_lm_eval() -> None:
    known = task_index()
    assert known.names["arc_easy"].kind == "task"
    assert known.names["mmlu"].kind == "group"
    assert known.tags["ai2_arc"] == ("arc_challenge", "arc_easy")


def test_names_and_tags_are_those_of_lm_evals_own_index() -> None:
    from lm_eval.tasks._index import TaskIndex

    home, known = Path(lm_eval.tasks.__file__).parent, task_index()
    entries = TaskIndex.build([home])
    tagged = {name: entry for name, entry in entries.items() if entry.kind.name == "TAG"}
    assert {name: (each.kind, each.file) for name, each in known.names.items()} == {
        name: ("group" if entry.kind.name == "GROUP" else "task", entry.yaml_path)
        for name, entry in entries.items()
        if name not in tagged
    }
    assert known.tags == {name: tuple(sorted(entry.tags)) for name, entry in tagged.items()}
    assert len(known.names) > 10_000
    assert len(known.tags) > 500


def test_without_lm_eval_the_fix_is_asked_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for scanned in (of_lm_eval, _of_lm_eval):
        scanned.cache_clear()
    try:
        with pytest.raises(DataError, match="lm-eval is not installed"):
            task_index()
    finally:
        for scanned in (of_lm_eval, _of_lm_eval):
            scanned.cache_clear()


@pytest.mark.parametrize(
    ("name", "num_fewshot", "generates"),
    [("gsm8k", 5, True), ("arc_easy", 0, False), ("mmlu_pro", 5, True), ("mmlu", 0, False), ("openllm", None, True)],
)
def test_a_definition_says_how_it_is_asked(name: str, num_fewshot: int | None, generates: bool) -> None:
    defaults = task_index().defaults(name)
    assert (defaults.common_num_fewshot, defaults.generates) == (num_fewshot, generates)


@dataclass
class Built:
    """What lm-eval would make a task of."""

    task_name: str
    config: dict[str, Any]


def _lm_evals_leaves(name: str, folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """The leaves of a name with their definitions, by lm-eval's own code, which reads no data for it."""

    def built(factory: TaskFactory, entry: Any, overrides: Any) -> Built:
        return Built(entry.name, {**load_yaml(entry.yaml_path, resolve_func=False), **(overrides or {})})

    monkeypatch.setattr(TaskFactory, "_build_task", built)
    monkeypatch.setattr(lm_eval.tasks._factory, "ConfigurableTask", lambda config: Built(config["task"], config))
    monkeypatch.setattr(Group, "add", lambda group, child: group._children.update({str(id(child)): child}))
    monkeypatch.setattr(Group, "get_all_tasks", _all_tasks)
    manager = TaskManager(include_defaults=False, include_path=[str(folder) for folder in folders])
    loaded = manager._load_spec(name)
    tasks = _all_tasks(loaded) if isinstance(loaded, Group) else loaded if isinstance(loaded, list) else [loaded]
    return {task.task_name: task.config for task in tasks}


def _all_tasks(group: Any, recursive: bool = True) -> list[Any]:
    children = list(group._children.values())
    return [leaf for child in children for leaf in (_all_tasks(child) if isinstance(child, Group) else [child])]


ASKED = ("num_fewshot", "dataset_path", "dataset_name", "output_type", "test_split", "description", "fewshot_split")


def _asked_with(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: config.get(key) for key in ASKED}


@pytest.mark.parametrize(
    "name",
    ["gsm8k", "mmlu", "leaderboard", "bbh", "minerva_math", "afrobench", "openllm", "hrm8k", "agieval", "ai2_arc"],
)
def test_leaves_and_what_they_are_asked_with_are_lm_evals(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`mmlu` names its leaves by tags, `afrobench` by tags of tasks in several folders, `openllm` says how many
    examples of each.
    """
    home = Path(lm_eval.tasks.__file__).parent
    leaves = {leaf.name: _asked_with(leaf.config) for leaf in task_index().leaves(name)}
    folders = sorted({each.file.parent for leaf in task_index().leaves(name) for each in leaf.definitions})
    theirs = _lm_evals_leaves(name, [home] if name == "afrobench" else folders, monkeypatch)
    assert leaves == {leaf: _asked_with(config) for leaf, config in theirs.items()}


GROUPS = {
    "its own": {"group": "g", "task": ["capitals"], "num_fewshot": 2, "description": "Answer."},
    "a member's": {"group": "g", "num_fewshot": 2, "task": [{"task": "capitals", "num_fewshot": 1}, "capitals_two"]},
    "inline": {"group": "g", "num_fewshot": 3, "task": [{"group": "sub", "num_fewshot": 2, "task": ["capitals"]}]},
    "of a group": {"group": "g", "num_fewshot": 3, "task": [{"group": "towns", "num_fewshot": 2}]},
    "a tag": {"group": "g", "task": ["capital_tag"], "num_fewshot": 4},
    "nested": {"group": "g", "task": ["towns"], "num_fewshot": 4},
}


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_an_own_group_says_of_its_tasks_what_lm_eval_takes(
    tmp_path: Path, group: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = write_own_tasks(tmp_path / "tasks")
    write_task(own / "g.yaml", **group)
    known = task_index(own)
    arc = known.names["arc_easy"].file.parent
    theirs = _lm_evals_leaves("g", [arc, own], monkeypatch)
    assert {leaf.name: _asked_with(leaf.config) for leaf in known.leaves("g")} == {
        leaf: _asked_with(config) for leaf, config in theirs.items()
    }
    assert all(leaf.involves_own for leaf in known.leaves("g"))


def test_what_a_group_says_of_itself_are_lm_evals_keys() -> None:
    assert set(GROUP_KEYS) >= GROUP_FIELD_NAMES


def test_a_name_that_lm_eval_does_not_know() -> None:
    with pytest.raises(DataError, match="lm-eval has no task 'arc_esay'"):
        task_index().defaults("arc_esay")


@pytest.mark.parametrize(
    "name", ["humaneval", "mbpp", "cruxeval_input", "longproc", "score_robustness", "humaneval_plus"]
)
def test_a_task_that_runs_answers_is_known(name: str) -> None:
    assert task_index().defaults(name).runs_answers


@pytest.mark.parametrize("name", ["gsm8k", "mmlu", "hellaswag", "ifeval", "minerva_math", "bbh", "truthfulqa_gen"])
def test_other_tasks_read_answers(name: str) -> None:
    assert not task_index().defaults(name).runs_answers
