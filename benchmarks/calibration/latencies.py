"""Percentiles of latencies of which those of one wave and of one repeat are alike; repeats until a rate is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy import stats

from benchmarks.calibration import before
from benchmarks.calibration.limits import COVERAGE, Limit, print_judged
from evals.stats.intervals import Clustered, Estimate, mean_t_log, percentile_interval, two_stage_count

USERS, REPEATS, WAVES = (4, 16, 64), (2, 3, 6), 8
ALIKE = ((0.0, 0.0), (0.0, 0.4), (0.0, 0.8), (0.2, 0.2), (0.4, 0.4), (0.8, 0.0))  # shares of repeats, of waves
PERCENTS = (50, 90, 99)
SIGMA = 0.3
FIRST_REPEATS, MOST_REPEATS = 3, 40
WIDEST_OF_THREE = (
    "the widest of three intervals is taken (requests, waves, repeats as units), since two to six repeats that agree "
    "by luck would give one narrower than independent requests have; an end that too few requests leave open never "
    "misses"
)
WANTED = ((0.02, 0.02), (0.05, 0.03), (0.05, 0.1), (0.1, 0.05))


def alike(generator: np.random.Generator, users: int, repeats: int, of_repeat: float, of_wave: float) -> Clustered:
    """Log-normal latencies of which so large shares of the variance are a repeat's and a wave's: both together are the
    intraclass correlation of a wave.
    """
    waves = np.repeat(np.arange(repeats * WAVES), users)
    logs = math.sqrt(of_repeat) * generator.standard_normal(repeats)[waves // WAVES]
    logs += math.sqrt(of_wave) * generator.standard_normal(repeats * WAVES)[waves]
    logs += math.sqrt(1 - of_repeat - of_wave) * generator.standard_normal(len(waves))
    return Clustered(np.exp(SIGMA * logs), waves, waves // WAVES)


def report_percentiles(repeats: int) -> int:
    print(f"\n## Percentiles of latencies, {WAVES} waves in each repeat: held % (want 93 to 98), no upper end %\n")
    columns = " | ".join(f"p{percent} held before | after | no end before | after" for percent in PERCENTS)
    print(f"| users | repeats | correlation in repeats, waves | {columns} |\n|{'---|' * 15}")
    held = []
    for users, count, (of_repeat, of_wave) in itertools.product(USERS, REPEATS, ALIKE):
        generator = np.random.default_rng(users + count)
        samples = [alike(generator, users, count, of_repeat, of_wave) for _ in range(repeats)]
        shares = [share for percent in PERCENTS for share in _shares(samples, percent)]
        cells = " | ".join(f"{100 * share:.0f}" for share in shares)
        held += [100 * share for share in shares[1::4]]
        print(f"| {users} | {count} | {of_repeat:g}, {of_wave:g} | {cells} |", flush=True)
    return print_judged((Limit("held after", *COVERAGE, WIDEST_OF_THREE), held))


def _shares(samples: list[Clustered], percent: int) -> list[float]:
    """Held before and after, without an upper end before and after."""
    truth = math.exp(SIGMA * stats.norm.ppf(percent / 100))
    ways = [
        [before.percentile_interval(sample.values, percent) for sample in samples],
        [percentile_interval(sample, percent) for sample in samples],
    ]
    held = [float(np.mean([estimate.low <= truth <= estimate.high for estimate in way])) for way in ways]
    return held + [float(np.mean([math.isinf(estimate.high) for estimate in way])) for way in ways]


def report_repeats(repeats: int) -> int:
    print("\n## Repeats until the rate is known well enough: mean held % (want 93 to 98), repeats in the mean\n")
    print("| spread of a repeat % | wanted ± % | held before | after | repeats before | after |")
    print("|---|---|---|---|---|---|")
    means_held = []
    for sigma, target in WANTED:
        generator = np.random.default_rng(0)
        series = [np.exp(generator.normal(0, sigma, MOST_REPEATS)).tolist() for _ in range(repeats)]
        ways = [
            [before.stopped_mean(rates, target) for rates in series],
            [_two_stages(rates, target) for rates in series],
        ]
        held = [100 * float(np.mean([mean.low <= 1 <= mean.high for mean, _ in way])) for way in ways]
        counts = [float(np.mean([count for _, count in way])) for way in ways]
        cells = " | ".join(f"{figure:.1f}" for figure in (*held, *counts))
        means_held.append(held[1])
        print(f"| {100 * sigma:g} | {100 * target:g} | {cells} |", flush=True)
    return print_judged((Limit("held after", *COVERAGE), means_held))


def _two_stages(rates: list[float], target: float) -> tuple[Estimate, int]:
    count = int(min(two_stage_count(rates[:FIRST_REPEATS], target), len(rates)))
    return mean_t_log(rates[:count], FIRST_REPEATS), count
