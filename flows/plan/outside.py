"""What a plan names that is neither ours nor built here: programs, interpreters, images, servers that run elsewhere.

A plan is data, but what it names is started with the rights of whoever sweeps it. So this is said before anything of it
is started, and refused where nobody can have looked at it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from engines.registry import engines_by_name
from engines.runtime.child_environment import passed_variables
from engines.runtime.environments import PROGRAMS
from flows.plan.schema import EnginePlan, Plan


@dataclass(frozen=True)
class Outside:
    """One such thing: what it is and what it stands for; the folders of this machine that it is given; the variables of
    this shell that it gets, by name.
    """

    kind: Literal["interpreter", "image", "program", "arguments", "server"]
    name: str
    use: str
    folders: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        folders = f"; sees {', '.join(self.folders)}" if self.folders else ""
        gets = f"; gets {', '.join(self.variables)}" if self.variables else "; gets no variable of this shell"
        return f"not ours: {self.kind} {self.name} ({self.use}){folders}{gets}"


def outside(plan: Plan) -> list[Outside]:
    """All of them, in the plan's order; nothing is started."""
    return [*_stand_ins(plan), *(entity for entry in plan.engines for entity in _of_engine(plan, entry))]


def _stand_ins(plan: Plan) -> Iterator[Outside]:
    for name, given in plan.environments.items():
        if given.python is not None:
            use = f"stands in for the environment {name}"
            yield Outside("interpreter", given.python, use, tuple(given.site), tuple(passed_variables()))
        elif given.image is not None:
            folders = ("our packages (read-only)", "the cache folder", *given.mounts)
            yield Outside("image", given.image, f"stands in for the environment {name}", folders)


def _of_engine(plan: Plan, entry: EnginePlan) -> Iterator[Outside]:
    use = f"the engine {entry.engine}"
    if entry.attach is not None:
        key = (entry.attach.key_variable,) if entry.attach.key_variable else ()
        yield Outside("server", entry.attach.url, use, (), key)
        return
    engine = engines_by_name().get(entry.engine)
    installed = {*engine.environments.values()} & PROGRAMS.keys() - plan.environments.keys() if engine else ()
    for path in filter(None, (shutil.which(PROGRAMS[environment]) for environment in sorted(installed))):
        yield Outside("program", path, use, (), tuple(passed_variables()))
    if entry.arguments or entry.env:
        words = [*entry.arguments, *(f"{name}={value}" for name, value in entry.env.items())]
        yield Outside("arguments", " ".join(words), f"added to {use}")
