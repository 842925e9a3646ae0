"""What is measured and scored for a cell, from the plan."""

from __future__ import annotations

from engines.runtime.cache import cache_folder
from evals.accuracy.adaptive_budget import Budget
from evals.accuracy.lm_eval_tasks import LoadedTasks, load_tasks
from flows.execute.keys import comparisons
from flows.execute.score_cell import Scoring
from flows.execute.served_parts import Work
from flows.sources.datasets import data_root
from flows.state.progress_display import Display
from flows.state.stages import Step, plainly
from flows.validate.resolved import ResolvedPlan


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


def load_sweep_tasks(sweep: ResolvedPlan) -> LoadedTasks:
    """lm-eval's tasks on the sweep's data, read once for all cells."""
    root = data_root(sweep.plan.data, sweep.base)
    return load_tasks(sweep.tasks, root, cache_folder() / "tasks" / sweep.plan.name, seed=sweep.plan.seed)
