"""Divergences of few prompts, and clustered tests far beyond what resamples resolve."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.calibration.before import smallest_p
from benchmarks.calibration.limits import COVERAGE, Limit, print_judged
from evals.stats.cluster_bootstrap import RESAMPLES, compare_clusters
from evals.stats.intervals import Floats, mean_t
from evals.stats.paired_tests import verdicts
from evals.stats.skewed_mean import skewed_mean

PROMPTS = (5, 10, 20)
SPREADS = (0.5, 0.8, 1.1)
LEVELS = (0.05, 0.01, 0.001)
UNSEEN_TAIL = "the upper end allows for a log-normal tail, which so few values cannot exclude"
Draw = Callable[[np.random.Generator], Floats]
NULLS: dict[str, Draw] = {
    "60 blocks, normal": lambda generator: generator.normal(0, 1, 60),
    "40 blocks, exponential": lambda generator: generator.exponential(1, 40) - 1,
    "20 blocks, heavy (t, 5)": lambda generator: generator.standard_t(5, 20),
}


def report(repeats: int) -> int:
    print(
        "\n## KL divergence over prompts: held % (want 93 to 98), and upper end below the truth (want at most 2.5 %)\n"
    )
    print("| prompts | distribution | held before | after | below before | after |\n|---|---|---|---|---|---|")
    log_normal, exponential = [], []
    for count in PROMPTS:
        for sigma in SPREADS:
            truth = math.exp(sigma * sigma / 2)
            row = _kl_row(f"log-normal, σ {sigma}", count, truth, repeats, partial(_log_normal, sigma, count))
            log_normal.append(row)
        exponential.append(_kl_row("exponential", count, 1.0, repeats, partial(_exponential, count)))
    outside = print_judged(
        (Limit("held after, log-normal", *COVERAGE), [held for held, _ in log_normal]),
        (Limit("held after, exponential", *COVERAGE, UNSEEN_TAIL), [held for held, _ in exponential]),
        (Limit("below after", 0.0, 2.5), [below for _, below in log_normal + exponential]),
    )
    print("\n## Clustered tests: wrong 'different' % at each level, by the two-sided p\n")
    print(f"| data | {' | '.join(f'at {100 * level:g} %' for level in LEVELS)} |\n|---|---|---|---|")
    for number, (name, draw) in enumerate(NULLS.items()):
        generator = np.random.default_rng(number)
        samples = [draw(generator).tolist() for _ in range(2 * repeats)]
        p = [compare_clusters(sample, [1.0] * len(sample), margin=1.0) for sample in samples]
        shares = [np.mean([test.p_different <= level for test in p]) for level in LEVELS]
        print(f"| {name} | {' | '.join(f'{100 * share:.2f}' for share in shares)} |", flush=True)
    _ruined()
    return outside


def _log_normal(sigma: float, count: int, generator: np.random.Generator) -> Floats:
    return generator.lognormal(0, sigma, count)


def _exponential(count: int, generator: np.random.Generator) -> Floats:
    return generator.exponential(1, count)


def _kl_row(name: str, count: int, truth: float, repeats: int, draw: Draw) -> tuple[float, float]:
    """Print a row. Returns how often the interval of now holds the truth and ends below it, in percent."""
    generator = np.random.default_rng(count)
    samples = [draw(generator).tolist() for _ in range(6 * repeats)]
    ways = [[estimate(sample) for sample in samples] for estimate in (mean_t, skewed_mean)]
    held = [100 * np.mean([estimate.low <= truth <= estimate.high for estimate in way]) for way in ways]
    below = [100 * np.mean([estimate.high < truth for estimate in way]) for way in ways]
    print(f"| {count} | {name} | " + " | ".join(f"{share:.1f}" for share in (*held, *below)) + " |", flush=True)
    return float(held[1]), float(below[1])


def _ruined() -> None:
    generator = np.random.default_rng(0)
    losses = 128 * (-math.log(4.96) + generator.normal(0, 0.1, 32))
    test = compare_clusters(losses.tolist(), [128.0] * 32, margin=math.log(1.01))
    print("\n## A ruined checkpoint (perplexity ratio 4.96, 32 blocks of 128 tokens) among many comparisons\n")
    print("| comparisons | least p before | verdict before | p after | verdict after |\n|---|---|---|---|---|")
    for many in (50, 101, 10_000):
        old, new = (
            verdicts([(p, 1.0, False), *[(0.5, 0.5, False)] * (many - 1)])[0]
            for p in (smallest_p(RESAMPLES), test.p_different)
        )
        print(f"| {many} | {smallest_p(RESAMPLES):.2g} | {old} | {test.p_different:.1g} | {new} |")
