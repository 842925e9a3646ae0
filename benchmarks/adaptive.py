"""What an adaptive accuracy budget decides and saves: `python -m benchmarks.adaptive [RUN …]`.

First simulated checkpoints, 1,000 a line, that are no worse than their baseline, lose just the margin of equivalence,
or lose more, go through the budget: how many are decided, wrongly or rightly, and by how many items. Then, for each RUN
(a run folder whose plan had `budget: full`), the budget is replayed on its items in their drawn order: the verdicts
against those of all items, and how many items were needed, those of the baselines, which are always scored in full,
among them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evals.items import Items, matched, task_items
from evals.paired import Paired, compare, margin_of, verdicts
from evals.sequential import follow, looks, settled
from reports.compared import reference_of
from reports.html import Results, read_results

REPEATS = 1000
ERROR_RATE = 0.05
ACCURACY = 0.6
MARGIN = 0.01  # relative to the accuracy


@dataclass(frozen=True)
class Case:
    """Checkpoints with these true shares of lost and gained items, of `drawn` items, in families of comparisons."""

    name: str
    lost: float
    gained: float
    drawn: int
    family: int
    margin: float = MARGIN * ACCURACY

    @property
    def wrong(self) -> tuple[str, ...]:
        """Verdicts that are errors where this is the truth."""
        if self.lost == self.gained:
            return ("better", "worse")
        return ("better", "equivalent")


CASES = (
    Case("no difference", 0.04, 0.04, 600, 1),
    Case("no difference", 0.04, 0.04, 600, 5),
    Case("a loss of the margin", 0.055, 0.025, 600, 1, 0.03),
    Case("a loss of the margin", 0.055, 0.025, 600, 5, 0.03),
    Case("no difference", 0.0175, 0.0175, 2376, 5),
    Case("a loss of 1.5 points", 0.0275, 0.0125, 2376, 5),
    Case("a loss of 4 points", 0.095, 0.055, 2376, 5),
    Case("a loss of 10 points", 0.14, 0.04, 2376, 5),
)


def run(baseline: tuple[float, ...], ours: Items, margin: float, error_rate: float, comparisons: int) -> Paired:
    """The comparison at the look at which the budget stops."""
    for count in looks(ours.drawn):
        one = follow(baseline[:count], ours.values[:count], ours.drawn, margin=margin, clusters=ours.clusters[:count])
        if settled(one, error_rate, comparisons):
            return one
    raise SystemExit("the run's tasks are not complete")


def verdict(one: Paired) -> tuple[float, float, bool]:
    return one.p_different, one.p_equivalent, one.difference.value > 0


def draw(generator: np.random.Generator, case: Case) -> tuple[tuple[float, ...], Items]:
    """One baseline and one candidate."""
    shares = [case.lost, case.gained, ACCURACY - case.lost, 1 - ACCURACY - case.gained]
    kinds = generator.choice(4, case.drawn, p=shares)
    base, cell = (tuple(np.isin(kinds, right).astype(float)) for right in ((0, 2), (1, 2)))
    names = tuple(map(str, range(case.drawn)))
    return base, Items("simulated", "acc", names, cell, ("",) * case.drawn, (4,) * case.drawn, case.drawn)


def simulate(case: Case) -> str:
    """A line: families with a wrong verdict, comparisons with the right one, by the budget and by all items; items."""
    generator = np.random.default_rng(0)
    families = REPEATS // case.family
    wrong, right, needed = [0, 0], [0, 0], 0
    for _ in range(families):
        drawn = [draw(generator, case) for _ in range(case.family)]
        found = [run(base, items, case.margin, ERROR_RATE, case.family) for base, items in drawn]
        whole = [compare(base, items.values, margin=case.margin) for base, items in drawn]
        for side, family in enumerate((found, whole)):
            said = verdicts([verdict(one) for one in family], ERROR_RATE)
            wrong[side] += any(one in case.wrong for one in said)
            right[side] += said.count("worse" if case.lost > case.gained else "equivalent")
        needed += sum(one.items for one in found)
    shares = [count / families for count in wrong] + [count / (families * case.family) for count in right]
    shown = "".join(f"{share:>10.3f}" for share in shares)
    return (
        f"{case.name:<22}{case.drawn:>6}{case.family:>7}{shown}{needed / (families * case.family * case.drawn):>8.0%}"
    )


def replay(results: Results) -> None:
    """One row for each comparison of a full run, and the items in all."""
    margin, error_rate = results.limits.equivalence_margin, results.about["accuracy"]["error_rate"]
    whole = {(one.name, one.task): one.paired for one in results.compared.flips}
    likelihoods = len(results.compared.likelihoods)
    stopped = {}
    for cell in results.cells:
        reference = reference_of(cell, results.cells)
        for task, ours in task_items(cell.trial.scores).items() if reference else ():
            theirs = task_items(reference.scores)[task]  # type: ignore[union-attr]
            same = matched(ours, theirs)
            if same is not None:
                level = margin_of(theirs.values, margin)
                stopped[cell.trial.name, task] = run(same, ours, level, error_rate, len(whole))
    early = dict(zip(stopped, verdicts([verdict(one) for one in stopped.values()], error_rate), strict=True))
    late = dict(zip(whole, verdicts([verdict(one) for one in whole.values()], error_rate), strict=True))
    print(
        f"{len(whole)} comparisons ({likelihoods} of perplexities left out), error rate {error_rate:g} for all of them"
    )
    print(f"{'cell':<36}{'task':<16}{'all items':>14}{'adaptive':>14}{'items':>7}{'of':>7}")
    for key, one in stopped.items():
        print(f"{key[0]:<36}{key[1]:<16}{late[key]:>14}{early[key]:>14}{one.items:>7}{one.drawn:>7}")
    baselines = sum(
        one.drawn for cell in results.cells if cell.is_baseline for one in task_items(cell.trial.scores).values()
    )
    items, drawn = sum(one.items for one in stopped.values()), sum(one.drawn for one in stopped.values())
    same_verdicts = sum(early[key] == late[key] for key in stopped)
    print(f"same verdicts: {same_verdicts} of {len(stopped)}")
    for what, some, all_ in (
        ("of quantized cells", items, drawn),
        ("of all cells", items + baselines, drawn + baselines),
    ):
        print(f"items {what}: {some} of {all_} ({some / all_:.0%})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path)
    given = parser.parse_args()
    print(f"{REPEATS} simulated comparisons a line, error rate {ERROR_RATE:g}, margin {MARGIN:.0%} or as named")
    print("wrong: families with any wrong verdict; right: comparisons with the right one; by the budget, by all items")
    heads = "".join(f"{one:>10}" for one in ("wrong", "(all)", "right", "(all)"))
    print(f"{'true difference':<22}{'items':>6}{'family':>7}{heads}{'needed':>8}")
    for case in CASES:
        print(simulate(case), flush=True)
    for folder in given.runs:
        replay(read_results(folder))


if __name__ == "__main__":
    main()
