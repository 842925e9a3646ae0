"""What is measured and scored for a cell, from the plan."""

from __future__ import annotations

from engines.runtime.cache import cache_folder
from evals.accuracy.adaptive_budget import Budget
from evals.data.corpora import WIKITEXT_HUB_NAME
from evals.data.local_root import DataError
from evals.tasks.loaded_tasks import LoadedTasks, load_tasks
from flows.execute.keys import comparisons
from flows.execute.score_cell import Scoring
from flows.execute.served_parts import Work
from flows.sources.datasets import data_root, require_hub_data
from flows.state.progress_display import Display
from flows.state.stages import Step, plainly
from flows.validate.resolved import ResolvedPlan
from flows.validate.tasks import reads_wikitext
from quant.errors import reading


def work_of(sweep: ResolvedPlan, tasks: LoadedTasks, display: Display, step: Step = plainly) -> Work:
    plan = sweep.plan
    budget = None
    if plan.accuracy.budget == "adaptive":
        budget = Budget(plan.accuracy.error_rate, plan.limits.equivalence_margin, comparisons(sweep))
    scoring = Scoring(
        window_tokens=plan.max_length,
        tasks=tasks,
        chat_template=plan.accuracy.chat_template,
        data_root=data_root(plan.data, sweep.base),
        budget=budget,
    )
    return Work(
        repeats=plan.repeats,
        seed=plan.seed,
        threads=plan.thread_count,
        max_model_len=sweep.max_model_len,
        scoring=scoring,
        stage=display.stage,
        own_prompts=sweep.load_prompts,
        traces=sweep.traces,
        time_limits=plan.time_limits.of_server,
        step=step,
    )


def require_data(sweep: ResolvedPlan) -> None:
    """Raises SourceError where data of the hub that the sweep reads are neither here nor to be had."""
    if sweep.plan.data == "hub":
        text = {WIKITEXT_HUB_NAME} if reads_wikitext(sweep.plan) else set()
        require_hub_data(text.union(*(sweep.known_tasks.data_sets(task.name) for task in sweep.tasks)))


def load_sweep_tasks(sweep: ResolvedPlan) -> LoadedTasks:
    """lm-eval's tasks on the sweep's data, read once for all cells. Raises DataError, whatever their reader raises."""
    root = data_root(sweep.plan.data, sweep.base)
    remedy = "Correct `data` or the tasks; `data: hub` needs a network, or all of it in the cache of `datasets`"
    with reading(f"the data of the tasks (`data: {sweep.plan.data}`)", DataError, remedy):
        work = cache_folder() / "tasks" / sweep.plan.name
        return load_tasks(sweep.tasks, root, work, seed=sweep.plan.seed, known=sweep.known_tasks)
