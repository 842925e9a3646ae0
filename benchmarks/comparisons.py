"""Does `compare` find what changed, and nothing else? `python -m benchmarks.comparisons [--pairs 400]`, three minutes.

Simulates pairs of races: a visit is off by 6.5 %, a round by 3 %, a whole run by 0, 5 or 10 %, a cell in one run by 0
or 3 %, an engine in one run by 0 or 3 % (the cells are of two engines). Prints of each line how often some cell that
did not become slower is said to be (beside it the rule before, which knew nothing of whole runs), how often one that
did is found, how often the others pass, how often 95 % intervals hold, and how often all cells together are said to be
slower and to be a regression. Ends with 1 where a limit is missed by more than two standard errors of the simulation.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import special

from evals.rounds.block_model import Flags, fit_blocks
from evals.rounds.two_runs import (
    OF_A_CELL,
    OF_A_RUN,
    Changes,
    common_change,
    of_others,
    p_of_verdicts,
    relative_changes,
)
from evals.stats.intervals import Floats
from evals.stats.multiple_testing import holm

VISIT, ROUND = 0.065, 0.03
LEAST, ALPHA = math.log(0.95), 0.05
RUNS = (0.0, 0.05, 0.10)


@dataclass(frozen=True)
class Line:
    """A pair of runs: `shares` of their earlier rates that the cells have later; standard deviations of what else
    differs. `known`: it is recorded which cells may have changed (those that did).
    """

    name: str
    shares: tuple[float, ...]
    rounds: int = 6
    run: float = 0.05
    engine: float = 0.0
    cell: float = 0.0
    known: bool = False


def lines() -> Iterator[Line]:
    for cells in (2, 3, 6, 12):
        same, slower = (1.0,) * (cells - 1), {"one -10 %": 0.9, "one -20 %": 0.8}
        for rounds in (3, 6):
            for run in RUNS:
                yield Line("nothing", (1.0, *same), rounds, run)
            yield Line("nothing, cells 3 %", (1.0, *same), rounds, cell=0.03)
            yield Line("nothing, engines 3 %", (1.0, *same), rounds, engine=0.03)
            for name, share in slower.items():
                yield Line(name, (share, *same), rounds)
            yield Line("all -10 %", (0.9,) * cells, rounds)
            yield Line("all -40 %", (0.6,) * cells, rounds)
    for rounds in (3, 6):
        yield Line("one -20 %, run 10 %", (0.8, *(1.0,) * 5), rounds, 0.10)
        yield Line("two -20 %", (0.8, 0.8, *(1.0,) * 4), rounds)
        yield Line("two of twelve -20 %", (0.8, 0.8, *(1.0,) * 10), rounds)
        yield Line("half +20 %", (*(1.2,) * 3, *(1.0,) * 3), rounds)
        yield Line("half +20 %, recorded", (*(1.2,) * 3, *(1.0,) * 3), rounds, known=True)
        yield Line("an engine -20 %", (*(0.8,) * 3, *(1.0,) * 3), rounds)
        yield Line("an engine -20 %, recorded", (*(0.8,) * 3, *(1.0,) * 3), rounds, known=True)


@dataclass(frozen=True)
class Judged:
    """Of each pair and cell: what was said before, and is now; `common` of all cells, `alone` without the machine."""

    before: Changes
    p_before: Floats
    relative: Changes
    p: Floats
    common: Changes
    alone: Changes


def judged(line: Line, pairs: int) -> Judged:
    generator, changes = np.random.default_rng(list(repr(line).encode())), np.log(line.shares)
    cells, rounds = len(changes), line.rounds
    fits, of_rounds = [], []
    for later in (0, 1):
        logs = later * changes[:, None] + line.run * generator.standard_normal((pairs, 1, 1))
        logs = logs + line.engine * generator.standard_normal((pairs, 2, 1))[:, np.arange(cells) * 2 // cells]
        logs = logs + line.cell * generator.standard_normal((pairs, cells, 1))
        logs = logs + ROUND * generator.standard_normal((pairs, 1, rounds))
        logs = logs + VISIT * generator.standard_normal((pairs, cells, rounds))
        fits.append(fit_blocks(logs))
        of_rounds.append(logs.mean(axis=1).var(axis=-1, ddof=1))
    seen = fits[1].means - fits[0].means
    error_degrees = np.full(seen.shape, 2.0 * (cells - 1) * (rounds - 1))
    errors = np.broadcast_to(((fits[0].scale ** 2 + fits[1].scale ** 2) / rounds)[:, None], seen.shape)
    shared = ((of_rounds[0] + of_rounds[1]) / rounds)[:, None]
    own = Changes(seen, errors, error_degrees)
    before = Changes(seen, errors * (1 - 1 / cells), error_degrees).with_error(shared, 2.0 * (rounds - 1))
    references = np.array([not line.known or share == 1 for share in line.shares])
    others = of_others(seen, errors, references, OF_A_CELL)
    relative, absolute = relative_changes(own, others), before.with_error(others.between, others.degrees)
    common = common_change(seen, errors, np.ones(seen.shape, dtype=bool), OF_A_CELL)
    alone = Changes(common.values, shared[:, 0], np.full(pairs, 2.0 * (rounds - 1)))
    alone = alone.with_error(common.between / common.worth, common.degrees)
    return Judged(
        before,
        before.p_values(LEAST),
        relative,
        p_of_verdicts(relative, absolute, LEAST, np.zeros(cells, dtype=bool)),
        alone.with_error(OF_A_RUN.variance, OF_A_RUN.degrees),
        alone,
    )


def printed(line: Line, verdicts: Judged) -> tuple[str, list[str]]:
    """The line, and the limits that it misses."""
    changes = np.log(line.shares)
    slower = changes < LEAST

    def below(changes: Changes, p: Floats) -> Flags:
        shown: Flags = np.asarray([holm(row) for row in p.tolist()]) <= ALPHA
        return shown & (changes.values < LEAST)

    def percent(flags: Flags) -> float:
        return 100 * float(flags.mean()) if flags.size else math.nan

    old, new = below(verdicts.before, verdicts.p_before), below(verdicts.relative, verdicts.p)
    passed: Flags = np.asarray([holm(row) for row in verdicts.p.tolist()]) <= ALPHA
    passed = passed & (verdicts.relative.values >= LEAST)
    half = special.stdtrit(verdicts.relative.degrees, 0.975) * np.sqrt(verdicts.relative.variances)
    holds: Flags = np.abs(verdicts.relative.values - changes) <= half
    false_before, false = (100 * float(np.mean(flags[:, ~slower].any(axis=1))) for flags in (old, new))
    wrong, alike = (
        100 * float(np.mean((of_all.p_values(LEAST) <= ALPHA) & (of_all.values < LEAST)))
        for of_all in (verdicts.common, verdicts.alone)
    )
    text = (
        f"{line.name:26s} {len(changes):5d} {line.rounds:6d} {100 * line.run:4.0f} | "
        f"{false_before:6.1f} {percent(old[:, slower]):6.1f} | {false:6.1f} {percent(new[:, slower]):6.1f} "
        f"{percent(passed[:, ~slower]):6.1f} {percent(passed[:, slower]):6.1f} {percent(holds):6.1f} "
        f"{100 * float(np.median(half)):5.1f} | {alike:6.1f} {wrong:6.1f}"
    )
    return text, missed(line, len(verdicts.p), false, percent(holds), wrong)


def missed(line: Line, pairs: int, false: float, holds: float, wrong: float) -> list[str]:
    """Of a line's limits. Where the machine and the program cannot be told apart there are none."""

    def error(limit: float) -> float:
        return 2 * math.sqrt(limit * (100 - limit) / pairs)

    limits = {"some cell is called slower": false <= 5 + error(5)}
    if len(line.shares) > 2 and ("one" in line.name or "nothing" in line.name):
        limits["intervals hold"] = holds >= 93 - error(93)
    if "-40" not in line.name:
        limits["all cells are called slower"] = wrong <= 2.5 + error(2.5)
    title = f"{line.name}, {len(line.shares)} cells, {line.rounds} rounds, run {100 * line.run:.0f} %"
    return [f"{title}: {name}" for name, met in limits.items() if not met]


HEADING = (
    f"{'became slower':26s} cells rounds run | before: false found | false  found passes wrongly  holds  half "
    "| all: slower regression"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=400, help="simulated pairs of runs a line")
    pairs, failures = parser.parse_args().pairs, []
    print(f"{pairs} pairs a line; all in %\n{HEADING}")
    for line in lines():
        text, missed = printed(line, judged(line, pairs))
        print(text, flush=True)
        failures += missed
    print("\n".join(f"missed: {failure}" for failure in failures) or "all limits are met")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
