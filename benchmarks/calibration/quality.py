"""Accuracy and its recovery: coverage, and how often a cell below the limit is called to meet it (want ≤ 2.5 %)."""

from __future__ import annotations

import numpy as np

from benchmarks.calibration import before
from benchmarks.calibration.planted import Truth
from evals.stats.intervals import Estimate
from evals.stats.paired_items import task_items
from reports.metrics.task_accuracy import mean_accuracy, recovery

LIMIT = 0.98
BELOW = (
    Truth(1, 20, 0.015, 0.0),
    Truth(1, 40, 0.015, 0.0),
    Truth(1, 100, 0.015, 0.0),
    Truth(1, 400, 0.015, 0.0),
    Truth(1, 1500, 0.0105, 0.0),
    Truth(1, 100, 0.035, 0.02),
    Truth(3, 40, 0.015, 0.0),
    Truth(3, 400, 0.0305, 0.02),
    Truth(1, 200, 0.04, 0.02, passage=10),
    Truth(3, 200, 0.04, 0.02, passage=10),
)
PASSAGES = (
    Truth(1, 200, 0.05, 0.02, passage=10),
    Truth(1, 200, 0.15, 0.1, 0.7, 10, 0.5),
    Truth(3, 200, 0.08, 0.05, 0.6, 10),
    Truth(1, 400, 0.05, 0.02, 0.6, 4, 0.2),
    Truth(4, 100, 0.06, 0.05, 0.5),
)


def report_recovery(repeats: int) -> None:
    print(
        f"## Recovery below the limit of {LIMIT}: called 'meets' (want at most 2.5 %) and coverage (want 93 to 98 %)\n"
    )
    print("| tasks × questions | passages of | lost, gained % | true | meets before | after | held before | after |")
    print("|---|---|---|---|---|---|---|---|")
    for number, truth in enumerate(BELOW):
        pairs = _recoveries(truth, repeats, number)
        met = [float(np.mean([estimate.low >= LIMIT for estimate in way])) for way in pairs]
        held = [_held(way, truth.recovery) for way in pairs]
        print(f"| {_name(truth)} | {truth.recovery:.3f} | {_percents(met)} | {_percents(held)} |", flush=True)


def report_passages(repeats: int) -> None:
    print("\n## Intervals where questions share passages: held % (want 93 to 98)\n")
    print("| tasks × questions | passages of | lost, gained % | accuracy before | after | recovery before | after |")
    print("|---|---|---|---|---|---|---|")
    for number, truth in enumerate(PASSAGES):
        accuracies = [_held(way, truth.accuracy) for way in _accuracies(truth, repeats, number)]
        ratios = [_held(way, truth.recovery) for way in _recoveries(truth, repeats, 100 + number)]
        print(f"| {_name(truth)} | {_percents(accuracies)} | {_percents(ratios)} |", flush=True)


def _recoveries(truth: Truth, repeats: int, seed: int) -> tuple[list[Estimate], list[Estimate]]:
    generator, old, new = np.random.default_rng(seed), [], []
    for _ in range(repeats):
        cell, base = truth.drawn(generator)
        old.append(before.recovery(cell, base, generator))
        estimate = recovery(truth.trial("rtn", cell), truth.trial("none", base))
        assert estimate is not None
        new.append(estimate)
    return old, new


def _accuracies(truth: Truth, repeats: int, seed: int) -> tuple[list[Estimate], list[Estimate]]:
    generator, old, new = np.random.default_rng(seed), [], []
    for _ in range(repeats):
        cell, _ = truth.drawn(generator)
        old.append(before.macro_mean(cell, generator))
        estimate = mean_accuracy(task_items(truth.trial("rtn", cell).scores), {})
        assert estimate is not None
        new.append(estimate)
    return old, new


def _held(estimates: list[Estimate], truth: float) -> float:
    return float(np.mean([estimate.low <= truth <= estimate.high for estimate in estimates]))


def _name(truth: Truth) -> str:
    flips = f"{100 * truth.lost:.2f}, {100 * truth.gained:.1f}"
    return f"{truth.tasks} × {truth.questions} | {truth.passage} | {flips}"


def _percents(values: list[float]) -> str:
    return " | ".join(f"{100 * value:.1f}" for value in values)
