"""Every number of the report, recomputed from a trial's raw samples. One place per definition."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evals.schema.accuracy import Perplexity, Score
from evals.schema.trial import Trial
from evals.stats.cluster_bootstrap import blocks, compare_clusters
from evals.stats.intervals import Estimate, exact, mean_t, ratio_of_sums
from evals.stats.paired_items import Items, trial_items
from reports.metrics.load import LoadMetrics, load_metrics
from reports.metrics.task_accuracy import accuracy_of, mean_accuracy, nothing_right, recovery

GIB = 1024**3
LOGLIKELIHOOD_TASK_METRIC = "perplexity"
BLOCK_TOKENS = 128  # consecutive tokens that count as one observation: what a passage is about carries that far


@dataclass(frozen=True)
class TaskMetrics:
    """One task of the plan: accuracy over its items (a group's items pooled), or a perplexity."""

    task: str
    metric: str
    estimate: Estimate
    is_accuracy: bool


@dataclass(frozen=True)
class CellMetrics:
    """A cell's headline figures. `accuracy` is the mean over accuracy tasks, each counting the same.

    `baseline` is the unquantized trial with its model, engine and options, which may be its own. `nothing_recovered`:
    it has next to nothing right, so there is no `recovery`.
    """

    trial: Trial
    loads: tuple[LoadMetrics, ...]
    tasks: tuple[TaskMetrics, ...]
    accuracy: Estimate | None
    recovery: Estimate | None
    perplexity_ratio: Estimate | None
    baseline: Trial | None
    nothing_recovered: bool = False

    @property
    def is_baseline(self) -> bool:
        return self.trial is self.baseline

    @property
    def reference(self) -> Trial | None:
        """What a quantized cell is held against; None for unquantized cells and where there is none."""
        return None if self.trial.unquantized else self.baseline

    @property
    def busiest(self) -> LoadMetrics:
        """The highest concurrency, or rate where all loads are open."""
        return max(self.loads, key=_busy)

    @property
    def calmest(self) -> LoadMetrics:
        """The lowest concurrency, or rate where all loads are open."""
        return min([load for load in self.loads if load.load.concurrency] or self.loads, key=_busy)

    @property
    def peak_bytes(self) -> int | None:
        """None where nothing was seen of its processes: no server takes no memory."""
        return (self.trial.memory.peak_bytes or None) if self.trial.memory else None


def _busy(load: LoadMetrics) -> tuple[bool, float]:
    """Closed loops after open ones: a server's throughput is that of a closed loop, where there is one."""
    return load.load.concurrency is not None, load.load.concurrency or load.load.rate_per_second or 0.0


@dataclass(frozen=True)
class Quality:
    """A trial against another on the same items and tokens. `nothing_recovered`: the other has next to nothing right,
    so there is no `recovery`.
    """

    recovery: Estimate | None
    perplexity_ratio: Estimate | None
    nothing_recovered: bool


def quality_against(trial: Trial, baseline: Trial) -> Quality:
    ratio = exact(1.0) if baseline is trial else _perplexity_ratio(trial, baseline)
    return Quality(recovery(trial, baseline), ratio, nothing_right(trial, baseline))


def cell_metrics(trial: Trial, baseline: Trial | None) -> CellMetrics:
    """All figures of an ok trial, against its model's baseline in the same engine where there is one."""
    items = trial_items(trial)
    references = trial_items(baseline) if baseline else {}
    quality = quality_against(trial, baseline) if baseline else Quality(None, None, nothing_recovered=False)
    return CellMetrics(
        trial=trial,
        loads=tuple(load_metrics(speed) for speed in trial.speed),
        tasks=(
            *_accuracies(items, references),
            *_task_perplexities(trial.scores),
            *map(_text_perplexity, trial.perplexities),
        ),
        accuracy=mean_accuracy(items, references),
        recovery=quality.recovery,
        perplexity_ratio=quality.perplexity_ratio,
        baseline=baseline,
        nothing_recovered=quality.nothing_recovered,
    )


def _accuracies(items: Mapping[str, Items], references: Mapping[str, Items]) -> list[TaskMetrics]:
    return [
        TaskMetrics(
            task,
            "accuracy" if task_items.is_accuracy else task_items.metric,
            accuracy_of(task_items, references.get(task)),
            task_items.is_accuracy,
        )
        for task, task_items in items.items()
    ]


def _task_perplexities(scores: Sequence[Score]) -> list[TaskMetrics]:
    task_metrics = []
    for score in scores:
        if len(score.values) < score.drawn:
            continue  # an adaptive budget stopped: a perplexity of other items cannot stand beside the baseline's
        if LOGLIKELIHOOD_TASK_METRIC in score.metrics:  # lm-eval's LAMBADA: exp(−mean log-likelihood of the last word)
            estimate = mean_t(_loglikelihoods(score)).map(lambda mean: math.exp(-mean))
            task_metrics.append(TaskMetrics(score.task, "perplexity of the last word", estimate, False))
        if "word_perplexity" in score.metrics:
            words = [item[score.metrics.index("word_perplexity")] for item in score.values]
            estimate = ratio_of_sums(_loglikelihoods(score), words).map(_exp_minus)
            task_metrics.append(TaskMetrics(score.task, "word perplexity", estimate, False))
        if "byte_perplexity" in score.metrics:
            size = [item[score.metrics.index("byte_perplexity")] for item in score.values]
            per_byte = ratio_of_sums(_loglikelihoods(score), size)
            task_metrics.append(
                TaskMetrics(score.task, "bits per byte", per_byte.map(lambda x: -x / math.log(2)), False)
            )
    return task_metrics


def _exp_minus(value: float) -> float:
    return math.exp(min(-value, 700.0))


def _loglikelihoods(score: Score) -> list[float]:
    return [loglikelihood[0] for loglikelihood in score.loglikelihoods]


def _text_perplexity(perplexity: Perplexity) -> TaskMetrics:
    """exp(−mean log-likelihood of a token): windows of the papers' convention are of one size, so that their mean of
    means is this too. The interval takes blocks of consecutive tokens for independent.
    """
    sums, sizes = blocks(token_logprobs(perplexity), BLOCK_TOKENS)
    estimate = mean_t([total / size for total, size in zip(sums, sizes, strict=True)]).map(_exp_minus)
    value = _exp_minus(float(np.mean(token_logprobs(perplexity))))  # a short last block weighs as much as it has tokens
    return TaskMetrics(
        "wikitext2", f"perplexity ({convention_name(perplexity)})", replace(estimate, value=value), False
    )


def token_logprobs(perplexity: Perplexity) -> list[float]:
    """Of all tokens that the convention scores, in the text's order."""
    return [value for window in perplexity.tokens for value in window]


def token_differences(perplexity: Perplexity, other: Perplexity) -> list[float]:
    """One's log-likelihood of each token less the other's, of the same text."""
    windows = zip(perplexity.tokens, other.tokens, strict=True)
    return [a - b for ours, theirs in windows for a, b in zip(ours, theirs, strict=True)]


def convention_name(perplexity: Perplexity) -> str:
    stride = f"/{perplexity.stride_tokens}" if perplexity.convention == "strided" else ""
    return f"{perplexity.convention}, {perplexity.window_tokens}{stride}"


def _perplexity_ratio(trial: Trial, baseline: Trial) -> Estimate | None:
    """exp of the mean paired difference of log-likelihoods: tokens of a text, else LAMBADA's last words."""
    for ours, theirs in zip(trial.perplexities, baseline.perplexities, strict=False):
        if same_text(ours, theirs):
            sums, sizes = blocks(token_differences(theirs, ours), BLOCK_TOKENS)
            return compare_clusters(sums, sizes, margin=math.log1p(0.01)).difference.map(_exp)
    by_task = {score.task: score for score in baseline.scores}
    for score in trial.scores:
        other = by_task.get(score.task)
        if LOGLIKELIHOOD_TASK_METRIC in score.metrics and other and other.item_keys == score.item_keys:
            pairs = zip(_loglikelihoods(score), _loglikelihoods(other), strict=True)
            return mean_t([theirs - ours for ours, theirs in pairs]).map(_exp)
    return None


def same_text(perplexity: Perplexity, other: Perplexity) -> bool:
    """True if the same tokens of the same text were scored in the same windows."""
    described = [(p.text_sha256, convention_name(p), [len(window) for window in p.tokens]) for p in (perplexity, other)]
    return described[0] == described[1]


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))
