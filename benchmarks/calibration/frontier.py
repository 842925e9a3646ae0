"""The probability of being Pareto-optimal: is it as often true as it says, within 8 points in every bin?"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from benchmarks.calibration import before
from benchmarks.calibration.limits import Limit, print_judged
from benchmarks.calibration.planted import Truth
from evals.stats.intervals import Floats, exact, mean_t
from reports.decision.frontier.frontier_probability import accuracy_draws, frontier_odds
from reports.decision.frontier.pareto import Point, frontier
from reports.metrics.cell import cell_metrics
from reports.metrics.ratios import DRAWS, mean_draws

CELLS = 4
BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.01)


def report(repeats: int) -> int:
    outside = 0
    for questions, passage in ((100, 1), (400, 1), (200, 10)):
        stated, true = _simulated(questions, passage, repeats)
        print(f"\n## Pareto-optimal: {questions} questions in passages of {passage}, flips of at most 3 % either way\n")
        print("| stated | before: cells | said % | true % | after: cells | said % | true % |")
        print("|---|---|---|---|---|---|---|")
        off = []
        for low, high in pairwise(BINS):
            sides = []
            for odds in stated:
                chosen = (odds >= low) & (odds < high)
                shares = [100 * values[chosen].mean() if chosen.any() else np.nan for values in (odds, true)]
                sides.append(f"{chosen.sum()} | {shares[0]:.1f} | {shares[1]:.1f}")
            off.append(float(shares[1] - shares[0]))
            print(f"| {low:g} to {min(high, 1):g} | {' | '.join(sides)} |", flush=True)
        outside += print_judged((Limit("true − said after", -8.0, 8.0), [share for share in off if share == share]))
    return outside


def _simulated(questions: int, passage: int, repeats: int) -> tuple[tuple[Floats, Floats], Floats]:
    """(probabilities stated before and after; whether the cell is on the true frontier). The first is the baseline."""
    generator = np.random.default_rng(questions + passage)
    old: list[float] = []
    new: list[float] = []
    true: list[bool] = []
    for _ in range(repeats):
        flips = generator.uniform(0, 0.03, (CELLS, 2))
        flips[0] = 0.0
        rates = generator.normal(10, 1, CELLS)
        base = Truth(1, questions, 0.0, 0.0, 0.6, passage).drawn(generator)[1]
        answers = [_cell(base, lost, gained, passage, generator) for lost, gained in flips]
        truth = Truth(1, questions, 0.0, 0.0, 0.6, passage)
        baseline = truth.trial("none", base)
        cells = [
            cell_metrics(truth.trial(f"m{i}", rows) if i else baseline, baseline) for i, rows in enumerate(answers)
        ]
        draws = np.random.default_rng(0)
        x = np.stack([mean_draws(mean_t(rate + generator.normal(0, 0.3, 3)), draws) for rate in rates])
        old += frontier_odds(x, before.accuracy_draws([rows[0] for rows in answers], draws, DRAWS)).tolist()
        new += frontier_odds(x, accuracy_draws(cells, draws)).tolist()
        points = [Point(str(i), "", exact(rates[i]), exact(flips[i, 1] - flips[i, 0])) for i in range(CELLS)]
        best = {point.key for point in frontier(points)}
        true += [str(i) in best for i in range(CELLS)]
    return (np.asarray(old), np.asarray(new)), np.asarray(true, dtype=np.float64)


def _cell(base: Floats, lost: float, gained: float, passage: int, generator: np.random.Generator) -> Floats:
    """The baseline's answers with these shares of all flipped; passages share their luck."""
    alike = Truth(1, base.shape[1], lost, gained, 0.6, passage)
    luck = generator.random(base.shape)
    shares = [alike.shares(share, generator) for share in (lost / 0.6, gained / 0.4)]
    flipped: Floats = np.where(base > 0, luck >= shares[0], luck < shares[1]).astype(np.float64)
    return flipped
