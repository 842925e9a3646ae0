"""The end of a sweep in a terminal: its table, then the answer in at most eight lines. With -v all that is known."""

from __future__ import annotations

import itertools
import sys
import textwrap
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from reports.decision.recommend import Answer, refusal
from reports.decision.results import Results
from reports.decision.what_decides import deciding
from reports.metrics.cost import costs
from reports.metrics.slo_capacity import capacities
from reports.metrics.task_accuracy import task_shots
from reports.output.formatting import deciding_text, figure_text, forecast_text, interval, spent_text, won_text
from reports.output.race_view import RaceView, certainty_text, race_view, sure
from reports.output.terminal.cells_table import full_table, short_table
from reports.sections.durations import forecast_error, spent

MOST_LINES = 7  # and the report's path
MOST_NAMED = 3
LABEL = len("No recommendation: ")  # the longest
WARNING = "Warning"
Line = tuple[str, str]  # label and text


def print_results(results: Results, console: Console, *, verbose: bool = False) -> None:
    """A table of all cells, then the answer; between them all else, where it is asked for."""
    console.print(full_table(results) if verbose else short_table(results, console.width))
    if verbose:
        for line in _details(results):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    if not console.is_terminal:  # whoever reads it wraps it, or searches in it
        for label, text in summary(results):
            console.print(f"{label}: {text}", markup=False, highlight=False, soft_wrap=True)
        return
    grid = Table.grid(Column(no_wrap=True), Column(overflow="fold"), padding=(0, 1, 0, 0))
    for label, text in summary(results, console.width - LABEL):
        grid.add_row(Text(f"{label}:", style="yellow" if label == WARNING else "bold"), Text(text))
    console.print(grid, highlight=False)


def summary(results: Results, width: int = sys.maxsize) -> list[Line]:
    """The answer: of a run of one model in at most MOST_LINES of this `width`, if its sentences are no longer than they
    use to be. Of several models a line for each.
    """
    race = race_view(results)
    if results.nothing_yet:
        lines = [("No recommendation", results.nothing_yet)]
    elif len(results.answers) == 1:
        lines = _of_one_model(results, results.answers[0], race)
    else:
        lines = [_headline(answer, results.models) for answer in results.answers]
    broken = [trial for trial in results.trials if trial.status == "failed"]
    if broken:
        names = [f"{trial.name} ({trial.failure.kind if trial.failure else 'no cause noted'})" for trial in broken]
        named = names[:MOST_NAMED] + ([f"and {more} more"] if (more := len(names) - MOST_NAMED) > 0 else [])
        lines.append(("Failed", f"{', '.join(named)}; causes and remedies: -v, or the report"))
    used = sum(_height(text, width) for _, text in lines)
    return [*lines, *_warnings(results, max(MOST_LINES - used, 1), width)]


def _headline(answer: Answer, models: Sequence[str]) -> Line:
    """The cell, whose name holds the model's where there are several; or why there is none."""
    if answer.chosen is None:
        return "No recommendation", refusal(answer, models).partition(": ")[2]
    return "Recommended", f"{answer.chosen.cell.trial.name}: {figure_text(answer)}"


def _of_one_model(results: Results, answer: Answer, race: RaceView | None) -> list[Line]:
    lines = [_headline(answer, results.models)]
    if answer.chosen is None:
        return [*lines, *(("To decide", text) for text in _deciding(results, answer)[:MOST_NAMED])]
    certain = race.certainties[0] if race else None
    lines.append(("Why", f"the {answer.objective.title} of the cells that meet the limits; {answer.chosen.why}"))
    if how_sure := sure(answer, certain, raced=race is not None):
        lines.append(("How sure", how_sure))
    if answer.alternative:
        lines.append(("Or", answer.alternative.removeprefix("or, ")))
    if (second := _runner_up(answer)) and not (answer.runner_up and answer.runner_up.name in answer.alternative):
        lines.append(("Runner-up", second))
    return lines


def _runner_up(answer: Answer) -> str:
    if answer.runner_up is None or answer.ratio is None:
        return ""
    return (
        f"{answer.runner_up.name}, {interval(answer.ratio)} times its {answer.objective.unit}{answer.runner_up.apart}"
    )


def _height(text: str, width: int) -> int:
    """The lines that a text takes in columns of this width."""
    return len(textwrap.wrap(text, max(width, 1)))  # a terminal may be narrower than the labels


def _warnings(results: Results, room: int, width: int) -> list[Line]:
    """Those that there is room for, or a single one, each whole: half a warning may say the opposite. The last line is
    how many more there are, and of what kinds.
    """
    labelled = [
        pair
        for answer in results.answers
        if answer.chosen
        for pair in zip(answer.caveat_labels, answer.caveats, strict=True)
    ]
    labelled += [(label, text) for label, texts in results.labelled_warnings for text in texts]
    taken = [*itertools.accumulate(_height(text, width) for _, text in labelled)]
    fits = len(taken) if len(taken) < 2 or taken[-1] <= room else sum(lines < room for lines in taken)
    shown, left = labelled[:fits], labelled[fits:]
    lines = [(WARNING, text) for _, text in shown]
    if not left:
        return lines
    kinds = list(dict.fromkeys(label for label, _ in left))
    named = ", ".join([*kinds[:MOST_NAMED], *(["others"] if len(kinds) > MOST_NAMED else [])])
    return [*lines, (WARNING, f"{len(left)}{' more' if shown else ''} ({named}): -v, or the report")]


def _deciding(results: Results, answer: Answer) -> list[str]:
    """What would decide about the cells that are ahead of the answer, and about the answer."""
    ahead = {*answer.open_cells, *answer.ahead} | ({answer.chosen.cell.trial.name} if answer.chosen else set())
    entries = [entry for entry in deciding(results) if entry.model == answer.model and entry.name in ahead]
    return [f"{entry.name}, {entry.figure}: {deciding_text(entry)}" for entry in entries]


def _details(results: Results) -> Iterator[str]:
    """All that is known besides the table and the summary."""
    if shots := task_shots(results.trials):
        yield f"tasks: {', '.join(f'{task} {count}' for task, count in shots.items())}"
    for trial in results.trials:
        if trial.failure:
            yield f"{trial.name} {trial.status}: {trial.why}\n  {trial.failure.remedy}"
    for warning in results.warnings:
        yield f"Warning: {warning}."
    race = race_view(results)
    yield from race.lines if race else ()
    for number, answer in enumerate(results.answers):
        yield from _answer_details(answer, results)
        if race and (certain := race.certainties[number]):
            yield certainty_text(certain, answer)
        yield from _deciding(results, answer)
    if forecast := forecast_error(results.about, results.trials, results.control):
        yield f"{forecast_text(forecast)}."
    if works := spent(results.trials, results.control):
        yield f"{spent_text(works)}."
    yield from (f"{capacity.name}: {capacity.text}" for capacity in capacities(results.cells))
    priced = costs(results.cells, results.about.get("price"), results.slo)
    yield from (f"{cost.name}: {cost.text}" for cost in priced)


def _answer_details(answer: Answer, results: Results) -> Iterator[str]:
    """Of one model, whose name is in its cells' names where there are several."""
    if answer.chosen is None:
        yield refusal(answer, results.models)
        return
    yield f"recommended {answer.chosen.cell.trial.name}: {won_text(answer)}; {answer.chosen.why}"
    yield from (f"Warning: {caveat}" for caveat in answer.caveats)
    yield from filter(None, (answer.alternative,))
    if second := _runner_up(answer):
        yield f"runner-up: {second}"
    yield from (f"{title}: {name}, {text}" for title, name, text in answer.best)
