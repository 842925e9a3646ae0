"""Do races of cells that are the same find no difference? `python -m benchmarks.aa RUN [RUN …]`, runs of
`configs/aa-cpu.yaml` in the order in which they were made.

Of each run and engine: how many of the pairs of its cells differ by intervals that hold for all pairs of the race at
once (Tukey and Kramer; Hsu, Multiple Comparisons, 1996, chapter 5) and by 95 % intervals of their own, of which one in
twenty must, and how many of its cells left the race. Of each later run: the noise of a visit that the runs before had
taught, against what this run's own visits show. Of each two runs: what `bitfrontier compare` says. Exits 1 where cells
of one engine differ at once in what a race goes by, one left, the noise is off by more than half, or a comparison finds
a regression.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.stats import studentized_range

from evals.stats.intervals import t_quantile
from reports.compare.runs import compare
from reports.decision.results import Results, read_results
from reports.rounds.speeds import noise_name, speed_models

OBJECTIVES = ("output rate", "e2e 50")  # what a race goes by
FIGURES = (*OBJECTIVES, "ttft 50", "tpot 50")
MOST_OFF = 1.5


def pairs(results: Results) -> Iterator[tuple[str, str, int, int, int, int]]:
    """(engine, figure, pairs, those that differ at once, those whose own 95 % interval excludes 1, cells left)."""
    race = results.race
    assert race is not None
    trials = {trial.key: trial for trial in results.trials}
    for figures in results.speed_models.values():
        for name in FIGURES:
            fitted = figures[name]
            apart, errors = np.abs(fitted.fit.differences()), fitted.fit.standard_errors()
            degrees = float(fitted.fit.degrees)
            at_once = studentized_range.ppf(0.95, len(fitted.keys), degrees) / math.sqrt(2) * errors
            by_pair = t_quantile(int(degrees)) * errors
            for engine in dict.fromkeys(trial.engine for trial in results.trials):
                own = [i for i, key in enumerate(fitted.keys) if key in trials and trials[key].engine == engine]
                two = list(itertools.combinations(own, 2))
                counts = [sum(bool(apart[pair] > half[pair]) for pair in two) for half in (at_once, by_pair)]
                left = sum(fitted.keys[i] in race.gone for i in own)
                yield engine, name, len(two), counts[0], counts[1], left


def noises(results: Results) -> Iterator[tuple[str, float, float]]:
    """(figure, the scale that was learnt before, the scale of this run's visits alone), of logarithms of a visit."""
    race = results.race
    assert race is not None
    trials = [*results.trials, *([results.control] if results.control else [])]
    for load, figures in speed_models(trials).items():
        for name in FIGURES:
            learnt = race.noise.get(noise_name(name, load))
            if learnt is not None:
                yield name, math.sqrt(learnt.variance), float(figures[name].fit.scale)


def main() -> int:
    folders, faults = [Path(argument) for argument in sys.argv[1:]], 0
    runs = [read_results(folder) for folder in folders]
    for folder, results in zip(folders, runs, strict=True):
        race = results.race
        assert race is not None
        print(f"{folder.name}: {race.number} rounds; {race.ending}")
        print(f"  {'engine':<14}{'figure':<14}{'pairs':>6}{'differ at once':>16}{'by 95 % each':>14}{'cells left':>12}")
        for engine, figure, count, at_once, by_pair, left in pairs(results):
            print(f"  {engine:<14}{figure:<14}{count:>6}{at_once:>16}{by_pair:>14}{left:>12}")
            faults += at_once + left if figure in OBJECTIVES else 0
        for figure, learnt, seen in noises(results):
            ratio = learnt / seen
            print(
                f"  noise of a visit, {figure}: learnt {100 * learnt:.1f} %, seen {100 * seen:.1f} %: {ratio:.2f} times"
            )
            faults += not 1 / MOST_OFF <= ratio <= MOST_OFF
    for (first, before), (second, after) in itertools.combinations(zip(folders, runs, strict=True), 2):
        comparison = compare(before, after)
        states = Counter(check.state for cell in comparison.cells for check in cell.checks)
        common = f"; {comparison.common.figure}: {comparison.common.text}" if comparison.common else ""
        print(f"compare {first.name} {second.name}: exit {comparison.exit_code}, {dict(states)}{common}")
        faults += bool(comparison.exit_code)
    print(f"{faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
