"""What an adaptive accuracy budget decides and saves: `python -m benchmarks.adaptive [RUN …]`.

First simulated checkpoints, 1,000 a line, that are no worse than their baseline, lose just the margin of equivalence,
or lose more, go through the budget: how many are decided, wrongly or rightly, and by how many items. Both sides read
the same scores of four choices, each with its own noise, so that answers flip where the best two are close. Then, for
each RUN (a run folder whose plan had `budget: full`), the budget is replayed on its items in their asking order and in
20 others: the verdicts against those of all items, and how many items were needed, without and with those of the
baselines, which are always scored in full.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evals.stats.group_sequential import follow, looks, settled
from evals.stats.paired_items import Items, Matched, matched, task_items
from evals.stats.paired_tests import Paired, compare, margin_of, verdicts
from reports.decision.results import Results, read_results

REPEATS = 1000
ERROR_RATE = 0.05
RELATIVE_MARGIN = 0.01
ORDERS = 20
TRUTH_ITEMS = 1_000_000  # by which the true difference of a case is told


@dataclass(frozen=True)
class Case:
    """Checkpoints that read each score with this noise, and the right answer's as so much lower, on `drawn` items, in
    families of comparisons. `at_margin`: the margin is what they really lose.
    """

    name: str
    noise: float
    loss: float
    drawn: int
    family: int
    at_margin: bool = False

    @property
    def wrong(self) -> tuple[str, ...]:
        """Verdicts that are errors where this is the truth."""
        return ("better", "equivalent") if self.loss else ("better", "worse")


CASES = (
    Case("no difference", 0.15, 0.0, 600, 1),
    Case("no difference", 0.15, 0.0, 600, 5),
    Case("a loss of the margin", 0.15, 0.1, 600, 1, at_margin=True),
    Case("a loss of the margin", 0.15, 0.1, 600, 5, at_margin=True),
    Case("no difference", 0.07, 0.0, 2376, 5),
    Case("a loss", 0.07, 0.05, 2376, 5),
    Case("a loss", 0.3, 0.14, 2376, 5),
    Case("a loss", 0.3, 0.38, 2376, 5),
)
Answers = tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.float64]]


def read(generator: np.random.Generator, case: Case, items: int) -> Answers:
    """Right answers of a baseline and a candidate, and by how much the baseline's best choice is ahead."""
    truth = generator.normal(size=(items, 4))
    truth[:, 0] += 0.6
    base, cell = (truth + case.noise * generator.normal(size=truth.shape) for _ in range(2))
    cell[:, 0] -= case.loss
    best = np.partition(base, 2, axis=1)
    return base.argmax(axis=1) == 0, cell.argmax(axis=1) == 0, best[:, 3] - best[:, 2]


def draw(generator: np.random.Generator, case: Case) -> Matched:
    """One baseline and one candidate, in asking order."""
    base, cell, margins = read(generator, case, case.drawn)
    keys, ranks = tuple(map(str, range(case.drawn))), tuple(range(case.drawn))
    sides = [
        Items(
            "simulated",
            "acc",
            keys,
            tuple(side.astype(float).tolist()),
            ("",) * case.drawn,
            (4,) * case.drawn,
            case.drawn,
            ranks,
            tuple(margins.tolist()),
        )
        for side in (cell, base)
    ]
    pairs = matched(*sides)
    if pairs is None:
        raise SystemExit("both sides have the same items")
    return pairs


def run(pairs: Matched, margin: float, error_rate: float, comparisons: int) -> Paired:
    """The comparison at the look at which the budget stops."""
    for count in looks(pairs.drawn):
        if settled(pairs.first(count), margin, error_rate / comparisons):
            return follow(pairs.first(count), margin)
    raise SystemExit("the run's tasks are not complete")


def verdict(comparison: Paired) -> tuple[float, float, bool]:
    return comparison.p_different, comparison.p_equivalent, comparison.difference.value > 0


def simulate(case: Case) -> str:
    """A line: families with a wrong verdict, comparisons with the right one, by the budget and by all items; items."""
    base, cell, _ = read(np.random.default_rng(1), case, TRUTH_ITEMS)
    difference = float(cell.mean() - base.mean()) if case.loss else 0.0
    margin = -difference if case.at_margin else RELATIVE_MARGIN * float(base.mean())
    generator = np.random.default_rng(0)
    families = REPEATS // case.family
    wrong, right, needed = [0, 0], [0, 0], 0
    for _ in range(families):
        drawn = [draw(generator, case) for _ in range(case.family)]
        comparisons = [run(pairs, margin, ERROR_RATE, case.family) for pairs in drawn]
        full = [compare(pairs.baseline, pairs.candidate, margin=margin) for pairs in drawn]
        for side, family in enumerate((comparisons, full)):
            decisions = verdicts([verdict(comparison) for comparison in family], ERROR_RATE)
            wrong[side] += any(decision in case.wrong for decision in decisions)
            right[side] += decisions.count("worse" if case.loss else "equivalent")
        needed += sum(comparison.items for comparison in comparisons)
    shares = [count / families for count in wrong] + [count / (families * case.family) for count in right]
    shown = "".join(f"{share:>10.3f}" for share in shares)
    return (
        f"{case.name:<22}{difference:>8.1%}{np.mean(base != cell):>8.1%}{case.drawn:>6}{case.family:>7}{shown}"
        f"{needed / (families * case.family * case.drawn):>8.0%}"
    )


Key = tuple[str, str]  # cell and task
Sides = tuple[Items, Items]  # a candidate's and its baseline's


def replay(results: Results) -> None:
    """A table of a full run's comparisons and what the budget makes of them, in the plan's order; then others'."""
    error_rate = results.about["accuracy"]["error_rate"]
    full = {(flip.name, flip.task): flip.paired for flip in results.compared.flips}
    late = decide(full, error_rate)
    sides = dict(both_sides(results))
    print(f"{len(full)} comparisons of questions, error rate {error_rate:g} for all of them")
    print(f"{'cell':<40}{'task':<26}{'all items':>14}{'adaptive':>14}{'items':>7}{'of':>7}")
    stopped = stop(sides, results, None)
    early = decide(stopped, error_rate)
    for key, comparison in stopped.items():
        print(f"{key[0]:<40}{key[1]:<26}{late[key]:>14}{early[key]:>14}{comparison.items:>7}{comparison.drawn:>7}")
    baselines = sum(
        items.drawn for cell in results.cells if cell.is_baseline for items in task_items(cell.trial.scores).values()
    )
    print(summary("in the plan's order", stopped, early, late, baselines))
    others = [stop(sides, results, np.random.default_rng(order)) for order in range(ORDERS)]
    for order, comparisons in enumerate(others):
        print(
            summary(f"in random order {order + 1}", comparisons, decide(comparisons, error_rate), late, baselines),
            flush=True,
        )
    items, drawn = (
        np.array([sum(getattr(comparison, name) for comparison in comparisons.values()) for comparisons in others])
        for name in ("items", "drawn")
    )
    shares, of_all = items / drawn, (items + baselines) / (drawn + baselines)
    same = [sum(decide(comparisons, error_rate)[key] == late[key] for key in late) for comparisons in others]
    print(
        f"over {ORDERS} orders: {np.median(shares):.1%} of the quantized cells' items ({shares.min():.1%} to "
        f"{shares.max():.1%}), {np.median(of_all):.1%} of all cells'; {sum(same)} of {ORDERS * len(late)} verdicts are "
        "those of all items"
    )


def both_sides(results: Results) -> Iterator[tuple[Key, Sides]]:
    for cell in results.cells:
        if cell.reference is not None:
            theirs = task_items(cell.reference.scores)
            for task, ours in task_items(cell.trial.scores).items():
                yield (cell.trial.name, task), (ours, theirs[task])


def stop(sides: Mapping[Key, Sides], results: Results, generator: np.random.Generator | None) -> dict[Key, Paired]:
    """Each comparison where the budget stops; with a `generator`, the items come in an order of its own."""
    error_rate, margin = results.about["accuracy"]["error_rate"], results.limits.equivalence_margin
    comparisons = {}
    for key, (ours, theirs) in sides.items():
        pairs = matched(ours, theirs if generator is None else shuffled(theirs, generator))
        if pairs is not None:
            comparisons[key] = run(pairs, margin_of(theirs.values, margin), error_rate, len(sides))
    return comparisons


def shuffled(items: Items, generator: np.random.Generator) -> Items:
    """The same items in another random order."""
    order = generator.permutation(len(items.keys))
    columns = ("keys", "values", "clusters", "choices", "margins")
    reordered: dict[str, Any] = {
        name: tuple(getattr(items, name)[i] for i in order) for name in columns if getattr(items, name)
    }
    return replace(items, **reordered)


def decide(comparisons: Mapping[Key, Paired], error_rate: float) -> dict[Key, str]:
    return dict(
        zip(
            comparisons, verdicts([verdict(comparison) for comparison in comparisons.values()], error_rate), strict=True
        )
    )


def summary(
    order: str, comparisons: Mapping[Key, Paired], early: Mapping[Key, str], late: Mapping[Key, str], baselines: int
) -> str:
    items, drawn = (
        sum(comparison.items for comparison in comparisons.values()),
        sum(comparison.drawn for comparison in comparisons.values()),
    )
    same = sum(early[key] == late[key] for key in early)
    return (
        f"{order}: {same} of {len(early)} verdicts are the same; items of quantized cells {items} of {drawn} "
        f"({items / drawn:.1%}), of all cells {items + baselines} of {drawn + baselines} "
        f"({(items + baselines) / (drawn + baselines):.1%})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path)
    given = parser.parse_args()
    print(
        f"{REPEATS} simulated comparisons a line, error rate {ERROR_RATE:g}, margin {RELATIVE_MARGIN:.0%} or as named"
    )
    print("wrong: families with any wrong verdict; right: comparisons with the right one; by the budget, by all items")
    heads = "".join(f"{title:>10}" for title in ("wrong", "(all)", "right", "(all)"))
    print(f"{'':<22}{'truly':>8}{'flips':>8}{'items':>6}{'family':>7}{heads}{'needed':>8}")
    for case in CASES:
        print(simulate(case), flush=True)
    for folder in given.runs:
        replay(read_results(folder))


if __name__ == "__main__":
    main()
