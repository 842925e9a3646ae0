"""What a sweep that goes on until it is decided measures next: more questions, longer texts, more rounds."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from evals.schema.race_file import MOST_ROUNDS
from evals.schema.run_file import NoRun, read_run
from flows.plan.changes import Changes, changes_of
from flows.plan.schema import Plan
from reports.decision.results import Results
from reports.decision.what_decides import deciding
from reports.output.formatting import duration
from reports.output.race_view import race_view

LEAST_TIMES, MOST_TIMES = 1.25, 4.0  # as many items at once: how many decide is itself known roughly
LEAST_ROUNDS, MORE_ROUNDS = 2, 6  # at once
MOST_STEPS = 8
OF_A_STEP = re.compile(r"(tasks\[\d+\]\.limit|perplexity\[\d+\]\.max_tokens|race\.(rounds|minutes))=[\d.]+")
USED_UP = ("rounds", "minutes")  # endings of a race that has not decided


@dataclass(frozen=True)
class Step:
    """Changes of a plan (`KEY=VALUE`, as of --set), why, and the seconds that they take where that is known."""

    sets: tuple[str, ...]
    why: tuple[str, ...]
    seconds: float | None

    @property
    def text(self) -> str:
        """What is measured next and why, in a line."""
        taking = f", some {duration(self.seconds)}" if self.seconds else ""
        return f"not decided ({'; '.join(self.why)}): continues with {', '.join(self.sets)}{taking}"


def gone_on_with(given: Changes, folder: Path) -> Changes:
    """The changes with which a run has gone on already, where it began with those that are given, and the rest is of
    the kind that steps make: the folder may be somebody else's.
    """
    try:
        recorded = changes_of(read_run(folder).get("changes"))
    except NoRun:
        return given
    began, further = recorded.sets[: len(given.sets)], recorded.sets[len(given.sets) :]
    return recorded if replace(recorded, sets=began) == given and all(map(OF_A_STEP.fullmatch, further)) else given


def next_step(plan: Plan, results: Results) -> Step | None:
    """What would decide more of what is open: of cells that would be recommended if they were known to keep the limits,
    and of a race that has ended without a winner. None where that is nothing.
    """
    race = race_view(results)
    certainties = race.certainties if race else [None] * len(results.answers)
    undecided = deciding(results)
    times, tokens, spent, why = 1.0, 1.0, list[float | None](), list[str]()
    rounds = 0
    for answer, certain in zip(results.answers, certainties, strict=True):
        for entry in undecided:
            if entry.model != answer.model or entry.name not in answer.open_cells or entry.times is None:
                continue
            more = min(max(entry.times, LEAST_TIMES), MOST_TIMES)
            if entry.unit == "questions":
                times = max(times, more)
            else:
                tokens = max(tokens, more)
            spent.append(entry.seconds * (more - 1) / (entry.times - 1) if entry.seconds and entry.times > 1 else None)
            why.append(f"{entry.name}: {entry.figure} {entry.estimate.value:.3f} against a limit of {entry.limit:g}")
        if race and race.state.ended in USED_UP and certain and certain.more_rounds is not None:
            wanted = min(max(certain.more_rounds, LEAST_ROUNDS), MORE_ROUNDS)
            rounds = max(rounds, wanted)
            spent.append(certain.seconds * wanted / certain.more_rounds if certain.seconds else None)
            why.append(f"{', '.join(certain.rivals)} may be the fastest instead")
        loaded = [name for name in answer.open_cells if name not in {entry.name for entry in undecided}]
        if race and race.state.ended in USED_UP and loaded and answer.aim.asks:
            rounds = MORE_ROUNDS
            spent.append(None)
            why.append(f"whether {', '.join(loaded)} meets {answer.aim.asks} is inconclusive")
    sets = (*_more_items(plan, times, tokens), *_more_rounds(plan, rounds))
    known = [seconds for seconds in spent if seconds is not None]
    return Step(sets, tuple(why), sum(known) if len(known) == len(spent) else None) if sets else None


def _more_items(plan: Plan, questions: float, tokens: float) -> Iterator[str]:
    """So many times as many of each task and text that has a limit."""
    for number, task in enumerate(plan.tasks):
        if questions > 1 and task.limit is not None:
            yield f"tasks[{number}].limit={_tens(task.limit * questions)}"
    for number, text in enumerate(plan.perplexity):
        if tokens > 1 and text.max_tokens is not None:
            yield f"perplexity[{number}].max_tokens={_tens(text.max_tokens * tokens)}"


def _more_rounds(plan: Plan, rounds: int) -> Iterator[str]:
    """With `minutes` as many more as the rounds are."""
    race = plan.race
    if race is None or not rounds or race.rounds >= MOST_ROUNDS:
        return
    total = min(race.rounds + rounds, MOST_ROUNDS)
    yield f"race.rounds={total}"
    if race.minutes is not None:
        yield f"race.minutes={race.minutes * total / race.rounds:.3g}"


def _tens(count: float) -> int:
    return math.ceil(count / 10) * 10
