"""What would decide whether a cell keeps a limit that its interval holds: how many more items, and how long they take.

An interval's half-width goes with 1 ÷ √items. If the figure stays where it is, the interval of `times` as many items
leaves the limit in POWER of all samples: times = ((1 + z ÷ 1.96) × half-width ÷ distance to the limit)², with z the
normal quantile of POWER (the usual sample size of a one-sided bound; Chow et al., Sample Size Calculations in Clinical
Research, 2018, chapter 3), both on the logarithms of ratios. Where the true figure is another, it takes more or fewer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from scipy import special

from evals.schema.trial import Trial
from evals.stats.intervals import CONFIDENCE, Estimate
from evals.stats.paired_items import trial_items
from reports.decision.limit_probability import UNBOUNDED, facing, log_or_least
from reports.decision.results import Results
from reports.decision.rules import LIMITS
from reports.decision.verdicts import Judged, Undecided
from reports.metrics.cell import LOGLIKELIHOOD_TASK_METRIC, same_text

POWER = 0.8
MOST_TIMES = 100.0
NO_LIMIT = "null"  # of a task, in the inputs of its part


@dataclass(frozen=True)
class Scored:
    """What a figure is made of: `items` of `unit`, in these `parts` of the trial; `all_of_them`: there are no more."""

    items: int
    unit: str
    parts: tuple[str, ...]
    all_of_them: bool


@dataclass(frozen=True)
class Deciding:
    """One limit of one cell. It is kept with a probability of `kept_with`, by the interval of `estimate`. `items` of
    `unit` were scored; `times` as many would decide, None where more of them do not (`why`). `seconds` is what the rest
    takes, in this cell and in the one that it is compared with (`against`), at the pace of what was scored; None where
    that is not recorded.
    """

    name: str
    model: str
    against: str
    figure: str
    estimate: Estimate
    limit: float
    items: int
    unit: str
    times: float | None
    seconds: float | None
    why: str = ""
    kept_with: float = field(kw_only=True)


def deciding(results: Results) -> list[Deciding]:
    """Of every cell whose accuracy or perplexity is inconclusive, by the limits that their intervals hold."""
    entries = []
    for judged in results.judged:
        other = _compared(judged, results)
        for figure in judged.undecided:
            scored = _scored(judged.cell.trial, other, figure.name) if other else None
            if other is not None and scored is not None:
                entries.append(_deciding(judged.cell.trial, other, figure, scored))
    return entries


def _compared(judged: Judged, results: Results) -> Trial | None:
    """The trial against which the figures in question were computed."""
    cell, loss = judged.cell, results.losses.get(judged.cell.trial.server)
    direct = results.direct.get(cell.trial.key)
    name = direct.reference if direct else loss.reference if loss and cell.is_baseline else None
    if name is None:
        return cell.reference
    return next(trial for trial in results.trials if (trial.model, trial.name) == (cell.trial.model, name))


def _scored(trial: Trial, other: Trial, figure: str) -> Scored | None:
    """Of what the figure was computed from; None for figures that are not known to narrow with more of something."""
    if figure == "recovery":
        items, theirs = trial_items(trial), trial_items(other)
        tasks = [task for task in items if items[task].is_accuracy and task in theirs]
        if any(len(items[task].values) < items[task].drawn for task in tasks):
            return None  # an adaptive budget stopped: its interval has other laws
        return _of_tasks(trial, tasks, sum(len(items[task].values) for task in tasks))
    if figure != "perplexity":
        return None
    for ours, text in zip(trial.perplexities, other.perplexities, strict=False):
        if same_text(ours, text):
            parts = tuple(name for name in trial.parts if name.startswith("text "))
            count, unscored = sum(map(len, ours.tokens)), len(ours.tokens) + ours.window_tokens  # at most
            ends = ours.max_tokens is None or count + unscored < ours.max_tokens
            return Scored(count, "tokens of text", parts, ends)
    words = [score for score in trial.scores if LOGLIKELIHOOD_TASK_METRIC in score.metrics]
    return _of_tasks(trial, [words[0].group or words[0].task], len(words[0].values)) if words else None


def _of_tasks(trial: Trial, tasks: Sequence[str], items: int) -> Scored:
    parts = tuple(f"task {task}" for task in tasks)
    leaves = [(score, score.group or score.task) for score in trial.scores]
    limits = {task: trial.inputs.get(f"task {task}", {}).get("task limit", "") for task in tasks}
    ends = [
        limits[task] == NO_LIMIT or (limits[task].isdecimal() and len(score.values) < float(limits[task]))
        for score, task in leaves
        if task in limits
    ]
    return Scored(items, "questions", parts, bool(ends) and all(ends))


def _deciding(trial: Trial, other: Trial, undecided: Undecided, scored: Scored) -> Deciding:
    times, why = times_to_decide(undecided.estimate, undecided.limit)
    if scored.all_of_them:
        times, why = None, f"all {scored.unit} that there are have been scored"
    spent = [side.seconds.get(part) for side in (trial, other) for part in scored.parts]
    known = [seconds for seconds in spent if seconds is not None]
    return Deciding(
        name=trial.name,
        model=trial.model,
        against=other.name,
        figure=LIMITS[undecided.name].name,
        estimate=undecided.estimate,
        limit=undecided.limit,
        items=scored.items,
        unit=scored.unit,
        times=times,
        seconds=(times - 1) * sum(known) if times is not None and known and len(known) == len(spent) else None,
        why=why,
        kept_with=undecided.kept_with,
    )


def times_to_decide(estimate: Estimate, limit: float) -> tuple[float | None, str]:
    """(times as many items, ""), or (None, why more of the same do not decide)."""
    value, bound, goal = (log_or_least(number) for number in (estimate.value, facing(estimate, limit), limit))
    if not math.isfinite(value) or not math.isfinite(bound) or facing(estimate, limit) > UNBOUNDED:
        return None, "so few give no bound on that side"
    quantile = float(special.ndtri(POWER)) / float(special.ndtri((1 + CONFIDENCE) / 2))
    away = abs(value - goal)
    root = (1 + quantile) * abs(value - bound) / away if away > 0 else math.inf
    if root > math.sqrt(MOST_TIMES):
        return None, f"it lies so near the limit that over {MOST_TIMES:g} times as many would be needed"
    return max(root * root, 1.0), ""
