"""The estimators of 2026-11-26, kept to be compared with: nothing else may use them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from evals.load.slo_search import Run, bracket, load_at, next_level
from evals.metrics.slo import LimitState
from evals.metrics.slo import within as within_limit
from evals.metrics.steady_state import steady
from evals.schema.slo import SLO, SearchRange
from evals.stats.intervals import Estimate, Floats, mean_t_log, percentiles, proportion

RESAMPLES = 2000
TAILS = (0.025, 0.975)


def recovery(ours: Floats, theirs: Floats, generator: np.random.Generator) -> Estimate:
    """A paired percentile bootstrap over questions, (tasks, questions) each: no flip has no width."""
    top, bottom = (np.zeros(RESAMPLES) for _ in range(2))
    for cell, base in zip(ours, theirs, strict=True):
        weights = _counts(len(cell), generator)
        top, bottom = top + weights @ cell, bottom + weights @ base
    low, high = np.quantile(top / np.maximum(bottom, 1e-12), TAILS)
    return Estimate(float(ours.sum() / theirs.sum()), float(low), float(high), ours.size)


def macro_mean(tasks: Floats, generator: np.random.Generator) -> Estimate:
    """A percentile bootstrap over questions that leaves passages out; of a single task Wilson's interval."""
    if len(tasks) == 1:
        return proportion(tasks.sum(), tasks.size)
    drawn = np.mean([_counts(len(task), generator) @ task / len(task) for task in tasks], axis=0)
    low, high = np.quantile(drawn, TAILS)
    return Estimate(float(tasks.mean()), float(low), float(high), tasks.size)


def _counts(size: int, generator: np.random.Generator) -> Floats:
    """How often each question is drawn in each resample."""
    picks = generator.integers(0, size, (RESAMPLES, size)) + np.arange(0, RESAMPLES * size, size)[:, None]
    return np.bincount(picks.ravel(), minlength=RESAMPLES * size).reshape(RESAMPLES, size).astype(np.float64)


def accuracy_draws(cells: Sequence[Floats], generator: np.random.Generator, draws: int) -> Floats:
    """Poisson's weights of questions, the same for all cells: answers that are the same are never drawn apart."""
    weights = generator.poisson(1.0, (draws, len(cells[0]))).astype(np.float64)
    return np.stack([weights @ cell / np.maximum(weights.sum(axis=1), 1e-12) for cell in cells])


def smallest_p(resamples: int) -> float:
    """Of a two-sided clustered test."""
    return 2 / (resamples + 1)


def percentile_interval(values: Floats, percent: float) -> Estimate:
    """Order statistics of values that are taken as independent."""
    ordered, below = np.sort(values), stats.binom(len(values), percent / 100)
    low, high = (int(below.ppf(tail)) for tail in TAILS)
    return Estimate(
        percentiles(values, [percent])[0],
        float(ordered[low - 1]) if low >= 1 else -np.inf,
        float(ordered[high]) if high < len(values) else np.inf,
        len(values),
    )


def capacity(within: SearchRange, limits: SLO, run: Run, repeats: int) -> float:
    """The highest load that met the limit on TTFT in one session, looked at after each repeat; 0 where none did."""
    verdicts: dict[float, LimitState] = {}
    while (level := next_level(within, verdicts)) is not None:
        load, waits = load_at(within, level), np.zeros(0)
        verdicts[level] = "inconclusive"
        for repeat in range(repeats):
            waits = np.append(waits, [request.ttft_seconds for request in steady(run(load, repeat)).started])
            estimate = percentile_interval(waits, limits.percentile)
            verdicts[level] = within_limit(estimate, limits.ttft_seconds or np.inf)
            if verdicts[level] != "inconclusive":
                break
    return bracket(verdicts)[0] or 0.0


def stopped_mean(rates: Sequence[float], target: float) -> tuple[Estimate, int]:
    """Two repeats or more, until the interval of all happens to be narrow."""
    for count in range(2, len(rates) + 1):
        estimate = mean_t_log(rates[:count])
        if estimate.high <= (1 + target) * estimate.value:
            break
    return estimate, count
