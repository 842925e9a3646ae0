"""What a person sees while a sweep runs: one bar per stage with an ETA, one line per finished cell.

Under a Prefect worker or without a terminal the same lines are logged instead.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from evals.schema.trial import Trial

logger = logging.getLogger(__name__)
Advance = Callable[[float], None]


class Display(Protocol):
    """Where progress goes."""

    def say(self, text: str) -> None:
        """One line that stays."""

    def overall(self, name: str, total: float) -> Advance:
        """A bar of the whole stage, such as the cells to measure; its ETA comes from what is done."""

    def stage(self, name: str, total: float) -> Advance:
        """The bar of what is being done now; the next one takes its place."""


class LogDisplay:
    """Lines only, for logs and workers."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log

    def say(self, text: str) -> None:
        logger.debug(text)
        self._log(text)

    def overall(self, name: str, total: float) -> Advance:
        self._log(f"{name} ({total:.0f})")
        return lambda amount: None

    def stage(self, name: str, total: float) -> Advance:
        return lambda amount: None


class BarDisplay:
    """Rich's bars on a terminal. Colours follow NO_COLOR and the terminal."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._overall: TaskID | None = None
        self._stage: TaskID | None = None

    def say(self, text: str) -> None:
        logger.debug(text)
        self._console.print(text, markup=False, highlight=False)

    def overall(self, name: str, total: float) -> Advance:
        self._drop(self._overall)
        self._drop(self._stage)
        self._stage = None
        self._overall = self._progress.add_task(name, total=total)
        return self._advance(self._overall)

    def stage(self, name: str, total: float) -> Advance:
        self._drop(self._stage)
        self._stage = self._progress.add_task(f"  {name}", total=total)
        return self._advance(self._stage)

    def _advance(self, task: TaskID) -> Advance:
        def advance(amount: float) -> None:
            with contextlib.suppress(KeyError):  # a stage that was replaced may still report its end
                self._progress.advance(task, amount)

        return advance

    def _drop(self, task: TaskID | None) -> None:
        if task is not None:
            with contextlib.suppress(KeyError):
                self._progress.remove_task(task)


@contextlib.contextmanager
def bars(console: Console) -> Iterator[Display]:
    """A display for a terminal, or lines where the console is none."""
    if not console.is_terminal:
        yield LogDisplay(lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True))
        return
    columns = (
        TextColumn("{task.description:<44.44}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    # cells take minutes: an ETA from the last 30 seconds alone, as by default, would often be none
    with Progress(*columns, console=console, transient=True, speed_estimate_period=3600.0) as progress:
        yield BarDisplay(console, progress)


current: ContextVar[Display | None] = ContextVar("display", default=None)


def cell_line(trial: Trial, number: int, count: int) -> str:
    """One line per finished cell: what it was, how it ended, how long it took."""
    mark = {"ok": "✓", "failed": "✗", "unsupported": "–"}[trial.status]
    seconds = trial.seconds.get("total")
    took = f"{seconds:.0f} s" if seconds else ""
    line = f"{mark} [{number}/{count}] {trial.name:<36} " + "  ".join(filter(None, (took, trial.why)))
    return f"{line}\n    {trial.failure.remedy}" if trial.failure else line
