"""What is said of output rates against those of an earlier run: of each, and of all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from evals.schema.load import LoadPoint
from reports.compare.checks import Check, State, shown
from reports.compare.rates import CommonChange, RateChange
from reports.decision.results import Results
from reports.metrics.cell import CellMetrics
from reports.rounds.speeds import visits_of

BY_HOLM = (
    "Rates: a whole machine may be slower in one run, so a cell is a REGRESSION only if it became slower relative to "
    "the other cells. It is a PASS only if its change as measured shows that, too. p values are for the hypothesis "
    "that the change is the smallest that passes, after Holm's correction over all rates."
)
KNOWN_WORK = {"hashed": "hashing", "copied": "copying"}


def of_rates(
    changes: Mapping[tuple[str, LoadPoint], RateChange],
    after: Results,
    cells: Sequence[tuple[CellMetrics, CellMetrics]],
    margin: float,
) -> dict[str, list[Check]]:
    """By key of the later trial: each load that it ran under; all that can be compared are one family of tests."""
    checks: dict[str, list[Check]] = {}
    for was, now in cells:
        of_cell = checks.setdefault(now.trial.key, [])
        for load in (speed.load for speed in now.trial.speed):
            title, change = f"output tokens/s at {load.label}", changes.get((now.trial.key, load))
            if was.trial.device != now.trial.device:
                text = f"on {was.trial.device} before, on {now.trial.device} now"
            elif change is not None:
                of_cell.append(_of_rate(title, change, margin, after.about["accuracy"]["error_rate"]))
                continue
            elif any(speed.load == load for speed in was.trial.speed):
                of_cell.append(Check(title, "PASS", "the same measurement"))
                continue
            else:
                text = "the other run has no such load"
            of_cell.append(Check(title, "NOT COMPARED", text))
    return checks


def _of_rate(title: str, change: RateChange, margin: float, error_rate: float) -> Check:
    state: State = "REGRESSION" if change.slower else "PASS"
    if change.adjusted > error_rate:
        state = "INCONCLUSIVE"
    by = f"p = {change.adjusted:.2g} against {1 - margin:.3g}"
    if change.relative is not None:
        by = f"{shown(change.relative)} relative to the other cells, {by}"
    elif change.slower:
        by = f"{by}, allowing for another server and hour, because no other cell was measured again"
    return Check(title, state, f"{shown(change.ratio)} × the earlier rate, {by}")


def known_work(before: Results, after: Results) -> str:
    """The speed of the reference computation in the later run against the earlier one; empty where none was done."""
    of_runs = [
        {name: [visit.sentinel[name] for visit in visits if visit.sentinel.get(name, 0.0) > 0] for name in KNOWN_WORK}
        for run in (before, after)
        for visits in ([visit for trial in run.trials for visit in visits_of(trial)],)
    ]
    ratios = [
        f"{median(of_runs[1][name]) / median(of_runs[0][name]):.2f} times as fast ({title})"
        for name, title in KNOWN_WORK.items()
        if all(rates[name] for rates in of_runs)
    ]
    return f"; the reference computation before visits was {' and '.join(ratios)}" if ratios else ""


def of_all_rates(
    common: CommonChange | None, margin: float, error_rate: float, recorded: bool, machine: str
) -> tuple[Check | None, bool]:
    """What is said of all rates together, with what is known of the `machine`, and whether they are slower alike and
    what was `recorded` may be why.
    """
    if common is None:
        return None, False
    slower, why = common.seen.value < 1 - margin, ""
    state: State
    if slower and common.p_value <= error_rate:
        state, why = "REGRESSION", ": slower by more than the machine varies from hour to hour"
    elif slower and common.p_seen <= error_rate:
        state, why = ("INCONCLUSIVE", f": suspect that hour of the machine{', or what changed' if recorded else ''}")
    else:
        state = "PASS" if common.p_seen <= error_rate else "INCONCLUSIVE"
    text = (
        f"{shown(common.seen)} × the earlier rates as measured, {shown(common.ratio)} allowing for how a "
        f"machine varies from hour to hour{why}{machine}"
    )
    alike = slower and common.p_seen <= error_rate < common.p_value
    return Check(f"all {common.count} rates", state, text), alike and recorded
