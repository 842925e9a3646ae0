"""What a command line changes of a plan: `--set KEY=VALUE`, `--only` and `--exclude`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from quant.errors import BitfrontierError

STEP = re.compile(r"\[(\d+)\]|(?:^|\.)([^.\[\]=]+)")
MOST_STEPS = 20  # of the key of a `--set`: no plan is that deep
SWITCHES = ("race",)  # a plan that has it measures in another way: no setting within it begins one in passing


class UnusableChange(BitfrontierError):
    """A `--set` that changes nothing of a plan, since its key or its value cannot be read or found."""

    exit_code = 2


@dataclass(frozen=True)
class Changes:
    """As they were given. `sets` are KEY=VALUE; `only` and `exclude` are globs on the names of cells."""

    sets: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.sets or self.only or self.exclude)

    @property
    def words(self) -> str:
        """The options as a command line has them, with a space before each; empty without any."""
        options = {"--set": self.sets, "--only": self.only, "--exclude": self.exclude}
        return "".join(f" {option} {shlex.quote(value)}" for option, values in options.items() for value in values)

    @property
    def plain(self) -> dict[str, list[str]]:
        """For a run's record, and for Prefect."""
        return {name: list(values) for name, values in asdict(self).items()}

    def selects(self, name: str) -> bool:
        """Whether the cell of this name is to be measured."""
        wanted = not self.only or any(fnmatchcase(name, pattern) for pattern in self.only)
        return wanted and not any(fnmatchcase(name, pattern) for pattern in self.exclude)


UNCHANGED = Changes()


def changes_of(plain: object) -> Changes:
    """What `Changes.plain` wrote; what is of another type is a damaged record's, and counts as none."""
    lists = plain if isinstance(plain, Mapping) else {}
    given = {name: lists.get(name) for name in ("sets", "only", "exclude")}
    return Changes(**{name: tuple(map(str, v)) if isinstance(v, list) else () for name, v in given.items()})


def apply_sets(tree: dict[str, Any], sets: Sequence[str]) -> dict[tuple[str | int, ...], str]:
    """Change the tree in place; what was set, by its place in the plan. Raises UnusableChange."""
    return {_apply(tree, text): text for text in sets}


def _apply(tree: dict[str, Any], text: str) -> tuple[str | int, ...]:
    key, equals, value = text.partition("=")
    steps = [int(index) if index else int(name) if name.isdigit() else name for index, name in STEP.findall(key)]
    if not equals or not steps or key.startswith(".") or "".join(match.group() for match in STEP.finditer(key)) != key:
        raise UnusableChange(f"--set {text:.200}: it is not KEY=VALUE. Write it as `--set load[0].concurrency=8`")
    if len(steps) > MOST_STEPS:
        raise UnusableChange(
            f"--set {text:.60}…: its key has {len(steps)} steps (at most {MOST_STEPS}). Name one of a plan"
        )
    place: Any = tree
    for position, step in enumerate(steps):
        before = key if position == len(steps) - 1 else "".join(f".{step}" for step in steps[: position + 1])[1:]
        if isinstance(place, list) and not (isinstance(step, int) and step < len(place)):
            within, last = ".".join(map(str, steps[:position])), len(place) - 1
            entries = f"entries 0 to {last}" if last > 0 else "entry 0 alone" if place else "no entries"
            raise UnusableChange(
                f"--set {text:.200}: `{within}` has {entries}, not {step!r}. Give an entry's number, as in "
                "`load[0].concurrency`"
            )
        if not isinstance(place, dict | list):
            raise UnusableChange(
                f"--set {text:.200}: `{before}` is within {place!r:.60}, which has no keys. Set that as a whole"
            )
        if position == len(steps) - 1:
            place[step] = _value(text, value)
        elif isinstance(place, dict) and place.get(step) is None:
            if step in SWITCHES:
                fix = f"Add it with `--set {step}={{}}` before, or to the plan"
                raise UnusableChange(f"--set {text:.200}: the plan has no `{step}`. {fix}")
            place[step] = {}
        place = place[step]
    return tuple(steps)


def _value(text: str, value: str) -> Any:
    """By the rules of a plan's YAML."""
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    from flows.plan.yaml_reader import plan_yaml

    try:
        return plan_yaml().load(value)
    except (YAMLError, RecursionError) as error:
        problem = error.problem if isinstance(error, MarkedYAMLError) else str(error)
        raise UnusableChange(
            f"--set {text:.200}: the value is not YAML: {problem}. Quote it twice: for the shell and for YAML"
        ) from error
