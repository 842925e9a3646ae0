"""The rounds of a race: visits in random order, a look after each round, until it has ended. Here each visit is a task
of Prefect's; `flows.orchestration.distributed` has a round made by a worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from prefect import task
from prefect.cache_policies import NO_CACHE

from evals.schema.race_file import RACE_FILE, Left, RaceState, read_race, write_race
from evals.schema.trial import Failure, Trial
from flows.execute.prepared import Prepared
from flows.execute.rows import finished
from flows.execute.visits import visit_log
from flows.execute.worker_process import Workbench
from flows.orchestration.cell_lines import remaining_of_round
from flows.orchestration.task_stages import unseen, watched
from flows.race.contenders import (
    Entry,
    control_file,
    entries,
    is_visited,
    race_of,
    refresh,
    refresh_all,
    rules_of,
    spent_seconds,
    visit_of,
)
from flows.race.look import look
from flows.race.noise import learnt, teach
from flows.state.progress_display import Display, SweepDisplay
from flows.state.remaining import Remaining
from quant.errors import counted
from reports.rounds.control import control_of

# by a round's number, its cells and their forecasts: each cell as its visit has ended, and why it failed if it did
MakeRound = Callable[[int, Sequence[Entry], Remaining], Iterator[tuple[Entry, Failure | None]]]


@task(task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def visit(
    name: str, bench: Workbench, prepared: Prepared, entry: Entry, number: int, place: int, display: Display
) -> Failure | None:
    planned = visit_of(entry, number, place)
    with watched(visit_log(prepared, entry.row, planned)) as step:
        return bench.visit(entry.row, planned, display, step)


def run_race(prepared: Prepared, make_round: MakeRound, display: SweepDisplay) -> None:
    """All rounds after the first, which measured each cell; nothing where the plan has no race. Finished visits are not
    made again.
    """
    plan = prepared.sweep.plan.race
    if plan is None:
        (prepared.folder / RACE_FILE).unlink(missing_ok=True)  # of the plan as it was before
        return
    state = RaceState(rules_of(plan), of=race_of(prepared))
    before = read_race(prepared.folder)  # what was learnt when this race began stays what it goes by
    noise = before.noise if before and before.rules == state.rules else learnt(prepared, _measured(prepared))
    control = next((entry for entry in entries(prepared, state, 1) if entry.control), None)
    state = replace(state, control=control_file(prepared, control).name if control else None, noise=noise)
    refresh_all(prepared, entries(prepared, state, 2), plan.rounds)
    state = look(prepared, state)
    write_race(prepared.folder, state)
    while state.ended is None:
        number = state.number + 1
        racing = entries(prepared, state, number)
        if not racing:
            state = replace(state, ended="no contenders")
            break
        state = _round(prepared, make_round, display, state, racing)
        state = replace(state, number=number, orders=(*state.orders, tuple(entry.name for entry in racing)))
        state = look(prepared, state)
        if state.ended is None and number == plan.rounds:
            state = replace(state, ended="rounds")
        if state.ended is None and plan.minutes and spent_seconds(prepared, state) > 60 * plan.minutes:
            state = replace(state, ended="minutes")
        for cell in state.left:
            if cell.after_round == number:
                display.say(f"  leaves the race after round {number}: {cell.name}: {cell.why}")
        write_race(prepared.folder, state)
    write_race(prepared.folder, state)
    blind = control_of(prepared.folder, state)
    teach(prepared, [*_measured(prepared), *([blind] if blind else [])])
    display.say(f"the race has ended after {counted(state.number, 'round')}: {state.ending}")


def _measured(prepared: Prepared) -> list[Trial]:
    return [trial for row in prepared.rows if (trial := finished(row)) is not None and trial.status == "ok"]


def _round(
    prepared: Prepared, make_round: MakeRound, display: SweepDisplay, state: RaceState, racing: list[Entry]
) -> RaceState:
    """Have each cell visited once; those whose visit failed have left."""
    number = state.number + 1
    left = remaining_of_round(racing)
    advance = display.overall(f"round {number} of at most {state.rules.rounds}", len(racing), left.seconds)
    before = {entry.key for entry in racing if is_visited(prepared, entry, number)}
    for entry, failure in make_round(number, racing, left):
        if failure is not None:
            why = f"its visit failed: {failure.cause}"
            state = state.leaving(Left(entry.key, entry.name, entry.row.cell.model.name, number, why, failed=True))
            display.say(f"  round {number}, {entry.name}: {why}")
        elif entry.key not in before:
            refresh(prepared, entry, state.rules.rounds)
        advance(1)
    return state


def visits_here(
    prepared: Prepared, bench: Workbench, display: SweepDisplay, number: int, racing: Sequence[Entry], left: Remaining
) -> Iterator[tuple[Entry, Failure | None]]:
    """A round on this machine, one visit after another; what is finished is not visited again."""
    for place, entry in enumerate(racing, 1):
        failure = took = None
        if not is_visited(prepared, entry, number):
            display.doing(entry.name)
            left.begins(entry.key)
            arguments = unseen(bench), unseen(prepared), unseen(entry), number, place, unseen(display)
            failure = visit(f"round {number}, {entry.name}", *arguments)
            took = left.elapsed() if failure is None else None
        left.ends(entry.key, took)
        yield entry, failure
