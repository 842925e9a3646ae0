"""What Prefect shows of a run while it goes on: stages as task runs, the logs of child processes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.utilities.annotations import quote

from flows.orchestration.api_server import unwatched
from flows.orchestration.log_tail import following
from flows.state.stages import Step, plainly

T = TypeVar("T")
TIMED = ("load ", "search ")  # how the names of parts begin that are timed


def unseen(value: T) -> T:
    """`value` for a task, as it is: Prefect would look all through it, all cells for every cell, for other results."""
    return cast(T, quote(value))


@task(task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def stage(name: str, function: Callable[[], Any]) -> Any:
    return function()


@contextlib.contextmanager
def watched(*logs: Path) -> Iterator[Step]:
    """Gives what makes a stage a task run, and passes on `logs` meanwhile; nothing of that where nobody can see it.

    While something is timed no line is passed on.
    """
    if unwatched.get():
        yield plainly
        return
    quiet = threading.Event()

    def step(name: str, function: Callable[[], T]) -> T:
        if name.startswith(TIMED):
            quiet.set()
        try:
            return cast(T, stage(name, function))
        finally:
            quiet.clear()

    with following(logs, get_run_logger().info, quiet):
        yield step
