"""Every number of the report, recomputed from a trial's raw samples. One place per definition."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evals.record import LoadPoint, Perplexity, Request, Score, Speed, Trial
from evals.statistics import Estimate, macro_mean, macro_recovery, mean_t, percentile, proportion, ratio_of_sums

PERCENTS = (50, 95, 99)
# the first that a task has is its headline, as in the field's tables
ACCURACY_METRICS = ("acc_norm", "acc", "exact_match")
LOGLIKELIHOOD_TASK_METRIC = "perplexity"


@dataclass(frozen=True)
class Latency:
    """Percentiles (50, 95, 99) in seconds over the requests of all repeats.

    TTFT: first token's arrival − request sent. TPOT: (end − first token) ÷ (output tokens − 1). ITL: gaps between
    chunks, each divided by the tokens that the later chunk brought. E2E: end − request sent.
    """

    ttft: tuple[float, ...]
    tpot: tuple[float, ...]
    itl: tuple[float, ...]
    e2e: tuple[float, ...]


@dataclass(frozen=True)
class LoadMetrics:
    """One load point. Rates are per second, means over repeats with a t interval."""

    load: LoadPoint
    output_rate: Estimate
    total_rate: Estimate
    request_rate: Estimate
    latency: Latency


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

    `is_baseline`: the others with its model, engine and options are compared with this one.
    """

    trial: Trial
    loads: tuple[LoadMetrics, ...]
    tasks: tuple[TaskMetrics, ...]
    accuracy: Estimate | None
    recovery: Estimate | None
    perplexity_ratio: Estimate | None
    is_baseline: bool

    @property
    def busiest(self) -> LoadMetrics:
        return max(self.loads, key=lambda one: one.load.concurrency)

    @property
    def calmest(self) -> LoadMetrics:
        return min(self.loads, key=lambda one: one.load.concurrency)

    @property
    def peak_bytes(self) -> int | None:
        return self.trial.memory.peak_bytes if self.trial.memory else None


def cell_metrics(trial: Trial, baseline: Trial | None) -> CellMetrics:
    """All figures of an ok trial, against its model's baseline in the same engine where there is one."""
    groups = accuracy_items(trial)
    return CellMetrics(
        trial=trial,
        loads=tuple(load_metrics(one) for one in trial.speed),
        tasks=(*_accuracies(groups), *_task_perplexities(trial.scores), *map(_text_perplexity, trial.perplexities)),
        accuracy=macro_mean([items for items, _ in groups.values()]) if groups else None,
        recovery=_recovery(trial, baseline) if baseline else None,
        perplexity_ratio=_perplexity_ratio(trial, baseline) if baseline else None,
        is_baseline=trial is baseline,
    )


def load_metrics(speed: Speed) -> LoadMetrics:
    """Rates per repeat over its steady window, percentiles over all requests."""
    requests = [request for repeat in speed.repeats for request in repeat]
    rates = [_rates(repeat, speed.load.concurrency) for repeat in speed.repeats]
    return LoadMetrics(
        load=speed.load,
        output_rate=mean_t([output for output, _, _ in rates]),
        total_rate=mean_t([output + prompt for output, prompt, _ in rates]),
        request_rate=mean_t([finished for _, _, finished in rates]),
        latency=Latency(
            ttft=_percentiles([_ttft(one) for one in requests]),
            tpot=_percentiles([_tpot(one) for one in requests if one.output_tokens > 1]),
            itl=_percentiles([gap for one in requests for gap in _gaps(one)]),
            e2e=_percentiles([one.end_seconds - one.sent_seconds for one in requests]),
        ),
    )


def _rates(repeat: Sequence[Request], concurrency: int) -> tuple[float, float, float]:
    """(output tokens, prompt tokens, requests) per second from the first send until the load began to drain.

    A closed loop of N requests at concurrency C drains when N − C + 1 have ended and none is left to send; what
    arrives later ran with fewer in flight and does not count. Prompt tokens count when the first token arrives.
    """
    start = min(one.sent_seconds for one in repeat)
    end = sorted(one.end_seconds for one in repeat)[len(repeat) - concurrency]
    seconds = end - start
    output = sum(max((n for at, n in one.chunks if at <= end), default=0) for one in repeat)
    prompt = sum(one.prompt_tokens for one in repeat if one.chunks[0][0] <= end)
    finished = sum(one.end_seconds <= end for one in repeat)
    return output / seconds, prompt / seconds, finished / seconds


def _ttft(request: Request) -> float:
    return request.chunks[0][0] - request.sent_seconds


def _tpot(request: Request) -> float:
    first_at, first_tokens = request.chunks[0]
    return (request.end_seconds - first_at) / max(request.output_tokens - first_tokens, 1)


def _gaps(request: Request) -> list[float]:
    pairs = zip(request.chunks, request.chunks[1:], strict=False)
    return [(later - earlier) / (after - before) for (earlier, before), (later, after) in pairs]


def _percentiles(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(percentile(values, percent) for percent in PERCENTS) if values else ()


def accuracy_items(trial: Trial) -> dict[str, tuple[list[float], list[str]]]:
    """Per task of the plan: the headline metric's value of each item, and the items' keys."""
    found: dict[str, tuple[list[float], list[str]]] = {}
    for score in trial.scores:
        metric = _headline(score)
        if metric is None:
            continue
        column = score.metrics.index(metric)
        values, keys = found.setdefault(score.group, ([], []))
        values += [item[column] for item in score.values]
        keys += [f"{score.task}:{key}" for key in score.item_keys]
    return found


def _headline(score: Score) -> str | None:
    return next((metric for metric in ACCURACY_METRICS if metric in score.metrics), None)


def _accuracies(groups: Mapping[str, tuple[list[float], list[str]]]) -> list[TaskMetrics]:
    return [
        TaskMetrics(task, "accuracy", proportion(sum(values), len(values)), True)
        for task, (values, _) in groups.items()
    ]


def _task_perplexities(scores: Sequence[Score]) -> list[TaskMetrics]:
    found = []
    for score in scores:
        if LOGLIKELIHOOD_TASK_METRIC in score.metrics:  # lm-eval's LAMBADA: exp(−mean log-likelihood of the last word)
            estimate = mean_t(_loglikelihoods(score)).map(lambda mean: math.exp(-mean))
            found.append(TaskMetrics(score.task, "perplexity of the last word", estimate, False))
        if "word_perplexity" in score.metrics:
            words = [item[score.metrics.index("word_perplexity")] for item in score.values]
            estimate = ratio_of_sums(_loglikelihoods(score), words).map(_exp_minus)
            found.append(TaskMetrics(score.task, "word perplexity", estimate, False))
        if "byte_perplexity" in score.metrics:
            size = [item[score.metrics.index("byte_perplexity")] for item in score.values]
            per_byte = ratio_of_sums(_loglikelihoods(score), size)
            found.append(TaskMetrics(score.task, "bits per byte", per_byte.map(lambda x: -x / math.log(2)), False))
    return found


def _exp_minus(value: float) -> float:
    return math.exp(min(-value, 700.0))


def _loglikelihoods(score: Score) -> list[float]:
    return [one[0] for one in score.loglikelihoods]


def _text_perplexity(one: Perplexity) -> TaskMetrics:
    """Papers' convention: exp(−mean over windows of the mean log-likelihood of a window)."""
    estimate = mean_t([total / tokens for total, tokens in one.windows]).map(_exp_minus)
    return TaskMetrics("wikitext2", f"perplexity ({one.convention}, {one.window_tokens})", estimate, False)


def _recovery(trial: Trial, baseline: Trial) -> Estimate | None:
    ours, theirs = accuracy_items(trial), accuracy_items(baseline)
    pairs = [(ours[task][0], theirs[task][0]) for task in ours if task in theirs and ours[task][1] == theirs[task][1]]
    return macro_recovery(pairs) if pairs and len(pairs) == len(ours) else None


def _perplexity_ratio(trial: Trial, baseline: Trial) -> Estimate | None:
    """exp of the mean paired difference of log-likelihoods: windows of a text, else LAMBADA's last words."""
    for ours, theirs in zip(trial.perplexities, baseline.perplexities, strict=False):
        if ours.text_sha256 == theirs.text_sha256 and len(ours.windows) == len(theirs.windows):
            pairs = zip(ours.windows, theirs.windows, strict=True)
            return mean_t([b / n - a / n for (a, n), (b, _) in pairs]).map(_exp)
    by_task = {score.task: score for score in baseline.scores}
    for score in trial.scores:
        other = by_task.get(score.task)
        if LOGLIKELIHOOD_TASK_METRIC in score.metrics and other and other.item_keys == score.item_keys:
            pairs_ = zip(_loglikelihoods(score), _loglikelihoods(other), strict=True)
            return mean_t([theirs_ - ours_ for ours_, theirs_ in pairs_]).map(_exp)
    return None


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))
