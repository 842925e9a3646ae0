"""Two runs held against each other, cell by cell: what became worse, what did not, what is inconclusive."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.schema.trial import Trial
from evals.stats.paired_items import trial_items
from evals.stats.paired_tests import Verdict, verdicts
from quant.errors import BitfrontierError, counted
from reports.compare.checks import Check, State, shown, worst
from reports.compare.rate_checks import BY_HOLM, known_work, of_all_rates, of_rates
from reports.compare.rates import rate_changes
from reports.decision.results import Results
from reports.metrics.cell import CellMetrics
from reports.metrics.paired_vs_baseline import Flips, Likelihood, flips_between, likelihoods_between

Pair = tuple[CellMetrics, CellMetrics]  # of the earlier and of the later run
SPEED_MARGIN = 0.05
SLOWER_ALIKE = 3  # the exit code
FACTS = ("version", "kernel", "dtype")
OTHER_PLAN = "the plan was changed"
OF_VERDICT: Mapping[Verdict, State] = {
    "better": "PASS",
    "equivalent": "PASS",
    "worse": "REGRESSION",
    "inconclusive": "INCONCLUSIVE",
}


class NotComparable(BitfrontierError):
    """The two runs have no cell in common."""

    exit_code = 2


@dataclass(frozen=True)
class CellComparison:
    """One cell in both runs: the worst of its checks, and what it was measured with that is another now."""

    name: str
    model: str
    state: State
    checks: tuple[Check, ...]
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Two runs. `changes` are those of the runs as a whole; `only_before` and `only_after` name cells of one alone.
    `rates_by` says how rates are judged, `common` what all of them have in common; `alike`: they are slower alike, by
    no more than a machine may be, and what was recorded has changed. `same`: both have the very same measurements.
    """

    before: str
    after: str
    changes: tuple[str, ...]
    cells: tuple[CellComparison, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    rates_by: str = "Rates: by their 95 % intervals."
    common: Check | None = None
    alike: bool = False
    same: bool = False

    def count(self, state: State) -> int:
        return sum(cell.state == state for cell in self.cells)

    @property
    def verdict(self) -> str:
        """Of the runs as wholes, with how many cells are in each state."""
        checks = [check for cell in self.cells for check in cell.checks]
        state = worst([*checks, self.common] if self.common else checks)
        states: tuple[State, ...] = ("REGRESSION", "INCONCLUSIVE", "PASS", "NOT COMPARED")
        of_cells = [f"{counted(count, 'cell')} {name}" for name in states if (count := self.count(name))]
        return f"{state} ({', '.join([*of_cells, *(['all rates are slower alike'] if self.alike else [])])})"

    @property
    def exit_code(self) -> int:
        """1 where something became worse, SLOWER_ALIKE where that may be."""
        common = self.common is not None and self.common.state == "REGRESSION"
        return 1 if common or self.count("REGRESSION") else SLOWER_ALIKE if self.alike else 0


def compare(before: Results, after: Results, *, speed_margin: float = SPEED_MARGIN) -> Comparison:
    """Each cell (model, method, engine, by their labels) that both runs have. Raises NotComparable where there is none.

    Rates: REGRESSION where after ÷ before, relative to the other cells, is shown to be below 1 − `speed_margin`, PASS
    where this and after ÷ before itself are shown to be above, at the later run's error rate with Holm's correction
    over all rates; those on different devices are not compared. Others of which nothing is recorded as changed come
    first; where there are none, REGRESSION needs after ÷ before itself to be below, too.
    Answers and likelihoods: paired on the same items and tokens, by the tests of a report, with the later run's margin
    and error rate and Holm's correction over all cells; *worse* is a REGRESSION, *better* and *equivalent* pass. A cell
    that was measured and fails now is a REGRESSION.
    """
    ours, theirs = {_key(trial): trial for trial in after.trials}, {_key(trial): trial for trial in before.trials}
    both = [key for key in theirs if key in ours]
    if not both:
        raise NotComparable(f"{before.about['name']} and {after.about['name']} have no cell in common")
    pairs = [(theirs[key], ours[key]) for key in both]
    error_rate = after.about["accuracy"]["error_rate"]
    answers = _answers(pairs, after.limits.equivalence_margin, error_rate)
    was, now = ({cell.trial.key: cell for cell in run.cells} for run in (before, after))
    measured = [(was[old.key], now[new.key]) for old, new in pairs if old.key in was and new.key in now]
    of_runs = tuple(_changes(before.about, after.about))
    unchanged = frozenset(new.key for old, new in pairs if not any(_cell_changes(old, new)))
    same = frozenset[str]() if any(change != OTHER_PLAN for change in of_runs) else unchanged
    changes = rate_changes(before, after, measured, 1 - speed_margin, same)
    rates = of_rates(changes.of_cells, after, measured, speed_margin)
    recorded = bool(of_runs) or len(unchanged) < len(pairs)
    machine = known_work(before, after)
    common, alike = of_all_rates(changes.common, speed_margin, error_rate, recorded, machine)
    cells = [
        _cell(
            old, new, old.key in was, [*rates.get(new.key, []), *answers.get(new.key, [])] if new.key in now else None
        )
        for old, new in pairs
    ]
    return Comparison(
        before.about["name"],
        after.about["name"],
        of_runs,
        tuple(cells),
        tuple(theirs[key].name for key in theirs if key not in ours),
        tuple(ours[key].name for key in ours if key not in theirs),
        BY_HOLM,
        common,
        alike,
        before.trials == after.trials,
    )


def _key(trial: Trial) -> tuple[str, str, str, str]:
    return (
        trial.model,
        trial.method_label,
        trial.engine,
        json.dumps(trial.provenance.get("engine_options"), sort_keys=True),
    )


def _answers(pairs: Sequence[tuple[Trial, Trial]], margin: float, error_rate: float) -> dict[str, list[Check]]:
    """By key of the later trial: questions are one family of tests over all cells, likelihoods another."""
    flips: list[tuple[str, Flips, bool]] = []
    likelihoods: list[tuple[str, Likelihood, bool]] = []
    for old, new in pairs:
        if old.status == new.status == "ok":
            if _asked_all(old) and _asked_all(new):
                flips += [(new.key, flip, _same(old, new, flip.task)) for flip in flips_between(new, old, margin)]
            same = _same(old, new, None) and _tokens(old) == _tokens(new)
            likelihoods += [(new.key, likelihood, same) for likelihood in likelihoods_between(new, old, margin)]
    of_flips = [flip.paired for _, flip, _ in flips]
    flip_verdicts = verdicts(
        [(paired.p_different, paired.p_equivalent, paired.difference.value > 0) for paired in of_flips], error_rate
    )
    likelihood_verdicts = verdicts(
        [
            (likelihood.p_different, likelihood.p_equivalent, likelihood.ratio.value < 1)
            for _, likelihood, _ in likelihoods
        ],
        error_rate,
    )
    checks: dict[str, list[Check]] = {}
    for (key, flip, same), verdict in zip(flips, flip_verdicts, strict=True):
        checks.setdefault(key, []).append(_of_flips(flip, verdict, same))
    for (key, likelihood, same), verdict in zip(likelihoods, likelihood_verdicts, strict=True):
        checks.setdefault(key, []).append(_of_likelihood(likelihood, verdict, same))
    return checks


def _same(old: Trial, new: Trial, task: str | None) -> bool:
    """Whether every log-likelihood of the task (None: of all) is what it was, to the last digit: nothing is left to be
    told.
    """
    before, after = (
        [score.loglikelihoods for score in trial.scores if task is None or score.group == task] for trial in (old, new)
    )
    return before == after


def _asked_all(trial: Trial) -> bool:
    """Whether it was asked all that its plan asks for; an adaptive budget stops elsewhere in each run."""
    return all(len(items.values) == items.drawn for items in trial_items(trial).values())


def _tokens(trial: Trial) -> list[Any]:
    return [perplexity.tokens for perplexity in trial.perplexities]


def _of_likelihood(likelihood: Likelihood, verdict: Verdict, same: bool) -> Check:
    if same:
        return Check(likelihood.text, "PASS", "the same log-likelihoods, to the last digit")
    return Check(
        likelihood.text, OF_VERDICT[verdict], f"perplexity {shown(likelihood.ratio)} × the earlier one: {verdict}"
    )


def _of_flips(flips: Flips, verdict: Verdict, same: bool) -> Check:
    pair, points = flips.paired, flips.paired.difference.map(lambda value: 100 * value)
    if same:
        return Check(flips.task, "PASS", f"the same {pair.items} answers, to the last digit of their log-likelihoods")
    questions = counted(pair.items, "question")
    text = f"{shown(points)} points on {questions}, {pair.lost} lost and {pair.gained} gained: {verdict}"
    return Check(flips.task, OF_VERDICT[verdict], text)


def _cell(old: Trial, new: Trial, was_measured: bool, compared: Sequence[Check] | None) -> CellComparison:
    """`compared` is None where the cell was not measured now."""
    checks: list[Check] = []
    if was_measured and compared is None:
        checks.append(Check("status", "REGRESSION", f"measured in the earlier run, not now: {new.why}"))
    elif was_measured and compared is not None:
        checks = [*compared]
        if not (_asked_all(old) and _asked_all(new)):
            checks.append(Check("questions", "NOT COMPARED", "an adaptive budget asked other questions in each run"))
    return CellComparison(new.name, new.model, worst(checks), tuple(checks), tuple(_cell_changes(old, new)))


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Of what the runs say of themselves."""
    for name in ("device", "threads", "repeats"):
        if before.get(name) != after.get(name):
            yield f"{name}: {before.get(name)} → {after.get(name)}"
    versions = (before.get("versions", {}), after.get("versions", {}))
    for name in sorted({*versions[0], *versions[1]}):
        if versions[0].get(name) != versions[1].get(name):
            yield f"{name}: {versions[0].get(name, 'none')} → {versions[1].get(name, 'none')}"
    if before.get("plan") != after.get("plan"):
        yield OTHER_PLAN


def _cell_changes(old: Trial, new: Trial) -> Iterator[str]:
    for name in FACTS:
        if old.facts.get(name) != new.facts.get(name):
            yield f"{name}: {old.facts.get(name, 'not reported')} → {new.facts.get(name, 'not reported')}"
    contents = [(trial.checkpoint or {}).get("content_sha256") for trial in (old, new)]
    if contents[0] != contents[1]:
        yield "another checkpoint"
