"""What a person sees while a sweep runs: its stages, the current cell, bars with an ETA, one line per finished cell.

Under a Prefect worker or without a terminal the same lines are logged instead.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Protocol

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from evals.schema.trial import Trial

logger = logging.getLogger(__name__)
Advance = Callable[[float], None]
Seconds = Callable[[], float | None]
REFRESHES_PER_SECOND = 2  # each takes time of the cores that are being measured


class Display(Protocol):
    """Where progress goes."""

    def say(self, text: str) -> None:
        """One line that stays."""

    def overall(self, name: str, total: float) -> Advance:
        """A bar of the whole stage, such as the cells to measure; its ETA comes from what is done."""

    def stage(self, name: str, total: float) -> Advance:
        """The bar of what is being done now; the next one takes its place."""

    def waiting(self, text: str) -> None:
        """For whom the work waits, in a line; empty where it goes on."""


class SweepDisplay(Display, Protocol):
    """Where progress of a whole sweep goes."""

    def overall(self, name: str, total: float, remaining: Seconds | None = None) -> Advance:
        """The same; where something better is known of what is left, its ETA is what `remaining` says."""

    def doing(self, text: str) -> None:
        """The cell, checkpoint or environment that is being worked on."""


class LogDisplay:
    """Lines only, for logs and workers."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log

    def say(self, text: str) -> None:
        logger.debug(text)
        self._log(text)

    def overall(self, name: str, total: float, remaining: Seconds | None = None) -> Advance:
        self._log(f"{name} ({total:.0f})")
        return lambda amount: None

    def doing(self, text: str) -> None:
        """A line for what has ended is enough."""

    def stage(self, name: str, total: float) -> Advance:
        return lambda amount: None

    def waiting(self, text: str) -> None:
        if text:
            self._log(text)


class Eta(ProgressColumn):
    """How long a bar's work will still take."""

    def render(self, task: Task) -> Text:
        remaining: Seconds | None = task.fields.get("remaining")
        seconds = remaining() if remaining else task.time_remaining
        if seconds is None or task.finished or task.fields.get("waiting"):
            return Text("")
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return Text(f"ETA {hours}:{minutes:02d}:{rest:02d}")


class Live(Progress):
    """Bars below the stages so far and what is being worked on."""

    stages: tuple[str, ...] = ()
    doing: str = ""
    waiting: str = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        done = "".join(f"✓ {name} · " for name in self.stages[:-1])
        lines = (f"{done}{self.stages[-1]}" if self.stages else "", f"▸ {self.doing}" if self.doing else "")
        yield from (Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in lines if line)
        if self.waiting:
            yield Text(self.waiting, style="yellow")
        yield self.make_tasks_table(self.tasks)


class BarDisplay:
    """Rich's bars on a terminal. Colours follow NO_COLOR and the terminal."""

    def __init__(self, console: Console, live: Live) -> None:
        self._console = console
        self.live = live
        self._overall: TaskID | None = None
        self._stage: TaskID | None = None

    def say(self, text: str) -> None:
        logger.debug(text)
        self._console.print(text, markup=False, highlight=False)

    def overall(self, name: str, total: float, remaining: Seconds | None = None) -> Advance:
        self._drop(self._overall)
        self._drop(self._stage)
        self._stage = None
        self.live.doing = ""
        self.live.stages = (*self.live.stages, name)
        self._overall = self.live.add_task(name, total=total, remaining=remaining)
        return self._advance(self._overall)

    def doing(self, text: str) -> None:
        self._drop(self._stage)
        self._stage = None
        self.live.doing = text

    def stage(self, name: str, total: float) -> Advance:
        self._drop(self._stage)
        self._stage = self.live.add_task(f"  {name}", total=total)
        return self._advance(self._stage)

    def waiting(self, text: str) -> None:
        self.live.waiting = text
        if self._overall is not None:  # nobody knows how long the others take: no ETA
            self.live.update(self._overall, waiting=bool(text))

    def _advance(self, task: TaskID) -> Advance:
        def advance(amount: float) -> None:
            with contextlib.suppress(KeyError):  # a stage that was replaced may still report its end
                self.live.advance(task, amount)

        return advance

    def _drop(self, task: TaskID | None) -> None:
        if task is not None:
            with contextlib.suppress(KeyError):
                self.live.remove_task(task)


@contextlib.contextmanager
def bars(console: Console) -> Iterator[SweepDisplay]:
    """A display for a terminal, or lines where the console is none."""
    if not console.is_terminal:
        yield LogDisplay(lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True))
        return
    bar = max(8, min(24, (console.width - 40) // 3))
    name = max(8, min(44, console.width - bar - 34))  # the rest are numbers
    columns = (
        TextColumn(f"{{task.description:<{name}.{name}}}", markup=False),
        BarColumn(bar_width=bar),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        Eta(),
    )
    # cells take minutes: an ETA from the last 30 seconds alone, as by default, would often be none
    with Live(
        *columns, console=console, transient=True, speed_estimate_period=3600.0, refresh_per_second=REFRESHES_PER_SECOND
    ) as live:
        yield BarDisplay(console, live)


current: ContextVar[SweepDisplay | None] = ContextVar("display", default=None)


def cell_line(trial: Trial, number: int, count: int, figures: str = "") -> str:
    """One line per finished cell: what it was, how long it took, its `figures` and verdict, or why it has none."""
    mark = {"ok": "✓", "failed": "✗", "unsupported": "–"}[trial.status]
    seconds = trial.seconds.get("total")
    took = f"{seconds:.0f} s" if seconds else ""
    line = f"{mark} [{number}/{count}] {trial.name:<32} " + "  ".join(filter(None, (took, figures, trial.why)))
    return f"{line.rstrip()}\n    {trial.failure.remedy}" if trial.failure else line.rstrip()
