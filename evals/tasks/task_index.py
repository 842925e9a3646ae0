"""What the definitions of tasks say: lm-eval's, and in place of them those of a user's own folder. Tests hold the
leaves of groups, and what each is asked with, against lm-eval's own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from evals.data.local_root import DataError, LocalDataSet
from evals.data.named_files import named_data
from evals.tasks.definition_files import FOLDERS, Definition, joined, of_lm_eval, tasks_by_tag
from evals.tasks.own_definitions import own_definitions
from quant.errors import reading

GENERATES = "generate_until"  # the output type of tasks whose answers are written, not chosen
# what a group says of itself; its other keys are for its tasks
GROUP_KEYS = ("group", "group_alias", "task", "tag", "aggregate_metric_list", "metadata", "version")


@dataclass(frozen=True)
class TaskDefaults:
    """What the definitions of a task, or of all leaves of a group, say: their few-shot examples (0 where they name
    none), whether answers are generated, and what runs those as programs, if anything does.
    """

    num_fewshot: frozenset[int]
    generates: bool
    runs_answers: str = ""

    @property
    def common_num_fewshot(self) -> int | None:
        """That of all leaves; None where they differ."""
        return next(iter(self.num_fewshot)) if len(self.num_fewshot) == 1 else None


@dataclass(frozen=True)
class Leaf:
    """A task with its whole definition. `definitions` are those of the groups that lead to it and, unless a group
    defines it inside, its own. `given` are the keys that those groups override.
    """

    name: str
    config: Mapping[str, Any]
    definitions: tuple[Definition, ...]
    file: Path | None = None
    given: frozenset[str] = frozenset()

    @property
    def own(self) -> bool:
        """Whether its definition is the user's, whose relative names start there."""
        return self.file is not None and self.definitions[-1].own is not None

    @property
    def involves_own(self) -> bool:
        """Whether a definition of the user's says anything of it."""
        return any(each.own is not None for each in self.definitions)

    @property
    def by_program(self) -> bool:
        """Whether it reads its data by a program of its own."""
        return "class" in self.config or bool(self.config.get("custom_dataset"))

    @property
    def other_data(self) -> str:
        """Which data its groups name in place of its own, if so."""
        return next((key for key in sorted(self.given) if key.startswith("dataset_")), "")

    @property
    def own_data(self) -> LocalDataSet | None:
        """The files that a definition of the user's names itself, if it does. Raises DataError."""
        if self.file is None and self.involves_own:
            words = f"{self.definitions[-1].file} names the task '{self.name}', which no file defines"
            raise DataError(f"{words}. Define it in a file of {self.definitions[-1].file.parent}, or correct the name")
        if not self.own or self.by_program or self.file is None:
            return None
        if self.other_data:
            words = f"task '{self.name}' gets another {self.other_data} from its group"
            raise DataError(f"{words}. Define a task of its own for these data, in {self.definitions[-2].file.parent}")
        with reading(self.file, DataError, "Correct this definition"):
            return named_data(self.name, self.config, self.file)


@dataclass(frozen=True, eq=False)
class TaskIndex:
    """Every name of a task or a group, and the tasks of each tag. `own` is the user's folder, which defines its names
    in place of lm-eval.
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
            with reading(self.names[name].file, DataError, "Correct this definition"):
                self.defaults_of[name] = _defaults(list(self.leaves(name)))
        return self.defaults_of[name]

    def expanded(self, name: str) -> tuple[str, ...]:
        """What a plan's name stands for: a tag for its tasks, each of its own, as for lm-eval."""
        return (name,) if name in self.names else self.tags.get(name, (name,))

    def data_sets(self, name: str) -> set[str]:
        """The data sets of the hub that a task, or the leaves of a group, are defined to read: `organisation/name`
        each. Raises DataError.
        """
        paths = [str(leaf.config.get("dataset_path") or "") for leaf in self.leaves(name) if leaf.own_data is None]
        return {path for path in paths if path.count("/") == 1}

    def leaves(self, name: str, instead: Mapping[str, Any] = {}) -> Iterator[Leaf]:
        """The leaves behind a task, a group or a tag; `instead` is what the plan says of them, which wins. Raises
        DataError for definitions that cannot be joined.
        """
        place = self.names[name].file if name in self.names else name
        with reading(place, DataError, "Correct this definition"):
            leaves = list(self._below(name, {}, ()))
        for leaf in leaves:
            yield replace(leaf, config={**leaf.config, **instead})

    def _below(self, name: str, given: Mapping[str, Any], definitions: tuple[Definition, ...]) -> Iterator[Leaf]:
        definition = self.names.get(name)
        if definition is None and name in self.tags:
            for member in self.tags[name]:
                yield from self._below(member, given, definitions)
        elif definition is None:
            yield Leaf(name, given, definitions)
        elif definition.kind == "group":
            yield from self._members(definition.config, given, (*definitions, definition))
        else:
            keys = frozenset(given) - {"task", FOLDERS}
            yield Leaf(name, joined(definition.config, given), (*definitions, definition), definition.file, keys)

    def _members(
        self, group: Mapping[str, Any], given: Mapping[str, Any], definitions: tuple[Definition, ...]
    ) -> Iterator[Leaf]:
        """As lm-eval joins them: a group's keys give way to those from above, and a member's win."""
        given = joined({key: value for key, value in group.items() if key not in GROUP_KEYS}, given)
        for member in group.get("task") or ():
            if isinstance(member, str):
                yield from self._below(member, given, definitions)
            elif "group" not in member:
                yield from self._below(str(member["task"]), joined(given, member), definitions)
            elif member["group"] in self.names:
                here = {key: value for key, value in member.items() if key != "group"}
                yield from self._below(member["group"], joined(given, here), definitions)
            else:
                yield from self._members(member, given, definitions)


@cache
def _of_lm_eval() -> TaskIndex:
    return TaskIndex(*of_lm_eval())


def task_index(own: Path | None = None) -> TaskIndex:
    """All names of the installed lm-eval, and of the user's `own` folder of definitions. Raises DataError where one of
    those cannot be read, or is no definition.
    """
    known = _of_lm_eval()
    if own is None:
        return known
    names = own_definitions(own)
    tags = {tag: tuple(tasks) for tag, tasks in tasks_by_tag(names).items()}
    if clash := next((tag for tag in tags if tag in known.names), None):
        files = ", ".join(str(names[task].file) for task in tags[clash])
        raise DataError(f"the tag '{clash}' is the name of a task of lm-eval's. Call it otherwise in {files}")
    return TaskIndex({**known.names, **names}, {**known.tags, **tags}, own)


def _defaults(leaves: Sequence[Leaf]) -> TaskDefaults:
    if not leaves:
        raise DataError("this group has no tasks. Give it a list: `task: [NAME, …]`")
    configs = [leaf.config for leaf in leaves]
    unsafe = any(config.get("unsafe_code") for config in configs)
    folders = sorted(set().union(*(config.get(FOLDERS, ()) for config in configs)))
    modules = [file for folder in folders for file in sorted(folder.glob("*.py"))]
    running = (line for file in modules if (line := _runs_text(file, file.stat().st_mtime_ns)))
    return TaskDefaults(
        frozenset(int(config.get("num_fewshot") or 0) for config in configs),
        any(config.get("output_type") == GENERATES for config in configs),
        "its definition sets unsafe_code" if unsafe else next(running, ""),
    )


@cache
def _runs_text(file: Path, written: int) -> str:
    """Which line of a module runs a text: of answers, which any model may give. SymPy's `parse_expr` does. Empty where
    none does.
    """
    with reading(file, DataError, "Correct it: task definitions name its functions"):
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    calls = [node.func for node in nodes if isinstance(node, ast.Call)]
    names = [call for call in calls if isinstance(call, ast.Name) and call.id in ("eval", "exec")]
    names += [node for node in nodes if isinstance(node, ast.Name) and node.id == "parse_expr"]
    return f"{file}:{names[0].lineno} names `{names[0].id}`" if names else ""
