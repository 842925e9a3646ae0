"""What is measured and scored for a cell, from the plan."""

from __future__ import annotations

from engines.runtime.cache import cache_folder
from evals.accuracy.adaptive_budget import Budget
from evals.accuracy.divergence import PredictionSpec
from evals.accuracy.lm_eval_tasks import LoadedTasks, load_tasks
from evals.accuracy.perplexity import PerplexitySpec
from flows.execute.keys import comparisons, searches
from flows.execute.measure_cell import Work
from flows.execute.score_cell import Scoring
from flows.execute.stages import Step, plainly
from flows.sources.datasets import data_root
from flows.state.progress_display import Display
from flows.validate.resolved import Sweep


def work_of(sweep: Sweep, tasks: LoadedTasks, display: Display, step: Step = plainly) -> Work:
    plan = sweep.plan
    perplexities = [
        PerplexitySpec(
            perplexity_plan.convention, perplexity_plan.window, perplexity_plan.stride, perplexity_plan.max_tokens
        )
        for perplexity_plan in plan.perplexity
    ]
    predictions = [
        PredictionSpec(
            sweep.prompts_file(divergence_plan),
            divergence_plan.count,
            divergence_plan.length,
            divergence_plan.positions,
            divergence_plan.answer_tokens,
            plan.seed,
            divergence_plan.repeat,
        )
        for divergence_plan in plan.kl_divergence
    ]
    budget = None
    if plan.accuracy.budget == "adaptive":
        budget = Budget(plan.accuracy.error_rate, plan.limits.equivalence_margin, comparisons(sweep))
    scoring = Scoring(
        window_tokens=plan.max_length,
        task_specs=sweep.tasks,
        tasks=tasks,
        chat_template=plan.accuracy.chat_template,
        perplexities=tuple(perplexities),
        predictions=tuple(predictions),
        data_root=data_root(plan.data, sweep.base),
        budget=budget,
    )
    return Work(
        loads=sweep.loads,
        searches=searches(plan),
        repeats=plan.repeats,
        seed=plan.seed,
        threads=plan.threads,
        max_model_len=sweep.max_model_len,
        scoring=scoring,
        stage=display.stage,
        own_prompts=sweep.load_prompts,
        traces=sweep.traces,
        time_limits=plan.time_limits.of_server,
        step=step,
    )


def load_sweep_tasks(sweep: Sweep) -> LoadedTasks:
    """lm-eval's tasks on the sweep's data, read once for all cells."""
    root = data_root(sweep.plan.data, sweep.base)
    return load_tasks(sweep.tasks, root, cache_folder() / "tasks" / sweep.plan.name, seed=sweep.plan.seed)
