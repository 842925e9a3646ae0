"""What a plan names that is neither ours nor built here: programs, interpreters, images, definitions of
tasks, servers that run elsewhere.

A plan is data, but what it names is started with the rights of whoever sweeps it. So this is said before anything of it
is started. Of a plan that came by Prefect nobody here can have looked at it: there it is refused, unless whoever runs
the worker allows it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from engines.redaction import redacted
from engines.registry import engines_by_name
from engines.runtime.child_environment import passed_variables
from engines.runtime.environments import PROGRAMS
from flows.plan.schema import Plan
from flows.plan.source import Path_, PlanError, PlanFile

ALLOW = "BITFRONTIER_ALLOW_PROGRAMS"


@dataclass(frozen=True)
class Outside:
    """One such thing: what it is, what it stands for, and its place in the plan; the folders of this machine that it is
    given; the variables of this shell that it gets, by name.
    """

    kind: Literal["interpreter", "image", "program", "executable", "arguments", "server", "tasks"]
    name: str
    use: str
    place: Path_
    folders: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        folders = f"; sees {', '.join(self.folders)}" if self.folders else ""
        gets = f"; gets {', '.join(self.variables)}" if self.variables else "; gets no variable of this shell"
        return f"not ours: {self.kind} {self.name} ({self.use}){folders}{gets}"


def outside(plan: Plan) -> list[Outside]:
    """All of them, in the plan's order; nothing is started."""
    named = [*_stand_ins(plan)]
    if plan.tasks_path is not None:
        use, gets = "functions that its task definitions name are run", tuple(passed_variables(fetches=True))
        named.append(Outside("tasks", plan.tasks_path, use, ("tasks_path",), (), gets))
    return [*named, *(entity for index in range(len(plan.engines)) for entity in _of_engine(plan, index))]


def outside_lines(plan: Plan) -> list[str]:
    """A line for each, without credentials. It is shown before anything of them is started."""
    return [redacted(entity.line) for entity in outside(plan)]


def _stand_ins(plan: Plan) -> Iterator[Outside]:
    for name, given in plan.environments.items():
        use, place = f"in place of the environment {name}", ("environments", name)
        if given.python is not None:
            yield Outside("interpreter", given.python, use, place, tuple(given.site), tuple(passed_variables()))
        elif given.image is not None:
            folders = ("our packages (read-only)", "the cache folder", *given.mounts)
            yield Outside("image", given.image, use, place, folders)


def _of_engine(plan: Plan, index: int) -> Iterator[Outside]:
    entry, place = plan.engines[index], ("engines", index)
    use = f"the engine {entry.engine}"
    if entry.attach is not None:
        key = (entry.attach.key_variable,) if entry.attach.key_variable else ()
        yield Outside("server", entry.attach.url, use, (*place, "attach"), (), key)
        return
    engine = engines_by_name().get(entry.engine)
    installed = {*engine.environments.values()} & PROGRAMS.keys() - plan.environments.keys() if engine else ()
    for path in filter(None, (shutil.which(PROGRAMS[environment]) for environment in sorted(installed))):
        yield Outside("program", path, use, place, (), tuple(passed_variables()))
    for option in (option for option in engine.options if option.program) if engine else ():
        given = entry.options.get(option.name)
        for value in filter(None, given if isinstance(given, list) else [given]):
            where = (*place, "options", option.name)
            yield Outside("executable", str(value), f"{option.name} of {use}", where, (), tuple(passed_variables()))
    if entry.arguments or entry.env:
        words = [*entry.arguments, *(f"{name}={value}" for name, value in entry.env.items())]
        yield Outside("arguments", " ".join(words), f"added to {use}", place)


def refuse_outside(parsed: PlanFile) -> None:
    """Raises PlanError where the plan names what is not ours, unless this process was started with ALLOW=1. A program
    on the PATH is whoever's who set that, and no choice of the plan's.
    """
    if os.environ.get(ALLOW) == "1":
        return
    fix = f"remove it. If you trust everyone with access to Prefect's API, start the worker with {ALLOW}=1 instead"
    problems = [
        parsed.problem(
            entity.place,
            f"a plan from Prefect names a program that is not bitfrontier's: {entity.kind} {entity.name}",
            fix,
        )
        for entity in outside(parsed.plan)
        if entity.kind != "program"
    ]
    if problems:
        raise PlanError(parsed.file, problems)
