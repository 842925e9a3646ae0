"""A plan: YAML → validated, frozen data. Errors carry file, line, what is wrong and the fix.

YAML without interpolation, inheritance, environment look-ups or dotted paths: a plan is data.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from flows.plan.base import Part
from flows.plan.load import LoadPlan, TracePlan
from flows.plan.samples import find_plan, sample_plans
from flows.plan.schema import Plan
from quant.errors import BitfrontierError

Path_ = tuple[str | int, ...]
# keys of plans before 0.2, and what they are called now, in a plan or among a method's parameters
RENAMED = {
    "service": "slo",
    "closeness": "kl_divergence",
    "spread": "target_relative_ci",
    "most_repeats": "max_repeats",
    "gap_variation": "arrival_cv",
    "shared_tokens": "shared_prefix_tokens",
    "window_tokens": "max_length",
    "shots": "num_fewshot",
    "most_per_million": "max_cost_per_million_tokens",
    "device_gib": "gib",
    "strength": "smoothing_strength",
    "dampening_fraction": "dampening_frac",
    "activation_order": "actorder",
    **dict.fromkeys(("bits", "format", "type", "weights", "numbers", "activations"), "scheme"),
}
NEW_VALUES = {"scheme": "its value is a scheme such as W4A16 (`bitfrontier methods NAME` lists them)"}
MOST_VALUES = 100_000  # a plan of 10,000 cells has fewer; aliases of aliases can stand for billions


KINDS = (LoadPlan.__name__, TracePlan.__name__)  # pydantic names them in the place of an error


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a plan."""

    line: int
    message: str
    fix: str


class PlanError(BitfrontierError):
    """A plan is not valid. `str()` gives one `file:line: what` and one `fix:` line per problem."""

    exit_code = 2

    def __init__(self, file: Path, problems: Sequence[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: problem.line)
        super().__init__("\n".join(f"{file}:{p.line}: {p.message}\n  fix: {p.fix}" for p in self.problems))

    @property
    def shown(self) -> str:
        return str(self)


@dataclass(frozen=True)
class PlanFile:
    """A parsed plan with the line of every value, so that later checks can point too."""

    file: Path
    plan: Plan
    lines: Mapping[Path_, int]

    def problem(self, where: Path_, message: str, fix: str) -> Problem:
        return Problem(_line(self.lines, where), message, fix)


def load_plan(file: Path) -> PlanFile:
    """Read and validate the shape of `file`, or of the sample plan of that name. Raises PlanError.

    What it names is checked by `flows.validate.plan`.
    """
    file = find_plan(file)
    node = _compose(file, _read(file))
    lines = dict(_walk(node, ())) if node else {}
    duplicates = list(_duplicates(node)) if node else []
    raw = _construct(file, node) if node else None  # merges change the node
    if not isinstance(raw, dict):
        raise PlanError(
            file,
            [
                Problem(
                    1,
                    "the plan is empty or no mapping",
                    "start from the sample plan quickstart; `bitfrontier init` copies it",
                )
            ],
        )
    if duplicates:
        raise PlanError(file, duplicates)
    try:
        return PlanFile(file, Plan.model_validate(raw), lines)
    except ValidationError as error:
        raise PlanError(file, [_problem(detail, lines) for detail in error.errors()]) from error


def _compose(file: Path, text: str) -> yaml.Node | None:
    """The tree of a YAML text, of which no alias leads back to itself or multiplies without end. Raises PlanError."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None and _size(node, set(), {}) > MOST_VALUES:
            message = f"its aliases stand for more than {MOST_VALUES} values"
            raise PlanError(file, [Problem(1, message, "write the plan without aliases of aliases")])
    except yaml.MarkedYAMLError as error:
        line = (error.problem_mark.line if error.problem_mark else 0) + 1
        problem = Problem(line, f"not valid YAML: {error.problem}", "check indentation, colons and quotes on this line")
        raise PlanError(file, [problem]) from error
    except yaml.YAMLError as error:
        raise PlanError(file, [Problem(1, f"not valid YAML: {error}", "save the file as plain UTF-8 text")]) from error
    except RecursionError as error:
        raise PlanError(file, [Problem(1, "it is nested too deeply", "no plan needs over 6 levels")]) from error
    return node


def _size(node: yaml.Node, above: set[int], known: dict[int, int]) -> int:
    """Values below a node with every alias written out. Raises YAMLError where one holds itself."""
    if id(node) in above:
        raise yaml.MarkedYAMLError(problem="an alias holds itself", problem_mark=node.start_mark)
    if id(node) not in known:
        inner = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        inner = inner if isinstance(node, yaml.CollectionNode) else ()
        known[id(node)] = 1 + sum(_size(part, above | {id(node)}, known) for part in inner)
    return known[id(node)]


def _construct(file: Path, node: yaml.Node) -> object:
    """The values of a tree. Raises PlanError: YAML's own dates and numbers can be impossible ones."""
    try:
        return yaml.SafeLoader("").construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = (error.problem_mark.line if error.problem_mark else 0) + 1
        problem = Problem(line, f"not valid YAML: {error.problem}", "check indentation, colons and quotes on this line")
        raise PlanError(file, [problem]) from error
    except (ValueError, OverflowError, RecursionError) as error:
        line, text = _impossible(node)
        raise PlanError(file, [Problem(line, f"{text!r} is no value: {error}", f'write "{text}" in quotes')]) from error


def _impossible(node: yaml.Node) -> tuple[int, str]:
    """(line, text) of the first scalar that YAML takes for a date or a number and cannot read."""
    if isinstance(node, yaml.ScalarNode):
        try:
            yaml.SafeLoader("").construct_document(node)
        except (ValueError, OverflowError):
            return node.start_mark.line + 1, str(node.value)[:40]
    inner = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    for part in inner if isinstance(node, yaml.CollectionNode) else ():
        if (wrong := _impossible(part))[1]:
            return wrong
    return 1, ""


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        fix = f"give the path of a plan, or the name of a sample plan ({', '.join(sample_plans())})"
        raise PlanError(file, [Problem(1, "no such file", fix)]) from error
    except IsADirectoryError as error:
        raise PlanError(file, [Problem(1, "this is a folder", "give the path of a plan file in it")]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(
            file, [Problem(1, f"cannot be read: {error}", "check its permissions and that it is UTF-8 text")]
        ) from error


def _walk(node: yaml.Node, path: Path_) -> Iterator[tuple[Path_, int]]:
    """(path, line) of every value; a key's own line is that of its name."""
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, _key(key))
            yield from _walk(value, inner)
            yield inner, key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _walk(value, (*path, index))


def _key(node: yaml.Node) -> str:
    """A key's name; one that is no scalar, which YAML itself refuses later, has no other."""
    return str(node.value)


def _duplicates(node: yaml.Node) -> Iterator[Problem]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if _key(key) in seen:
                yield Problem(key.start_mark.line + 1, f"key '{key.value}' appears twice", "keep one of them")
            seen.add(_key(key))
            yield from _duplicates(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _duplicates(value)


def _line(lines: Mapping[Path_, int], where: Path_) -> int:
    while where and where not in lines:
        where = where[:-1]
    return lines.get(where, 1)


def dotted(path: Path_) -> str:
    """`methods[1].parameters.bits` for people."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".") or "the plan"


def _problem(error: Any, lines: Mapping[Path_, int]) -> Problem:
    path: Path_ = tuple(part for part in error["loc"] if part not in KINDS)
    kind, where = error["type"], dotted(path)
    line = _line(lines, path)
    if kind == "extra_forbidden":
        return Problem(line, f"unknown key '{where}'", suggestion(str(path[-1]), _allowed(path)))
    if kind == "missing":
        return Problem(
            line,
            f"'{where}' is missing",
            f"add `{path[-1]}:`; the sample plan quickstart shows every key; `bitfrontier init` copies it",
        )
    if kind == "value_error":
        return Problem(line, f"{where}: {error['ctx']['error']}", "change the value as said")
    given = error.get("input")
    return Problem(
        line,
        f"{where}: {lower_first(error['msg'])}, but it is {given!r}",
        f"change the value of `{path[-1] if path else where}`",
    )


def lower_first(text: str) -> str:
    """A sentence of pydantic's as it goes on after a colon; values in it keep their case."""
    return text[:1].lower() + text[1:]


def suggestion(given: str, allowed: Sequence[str]) -> str:
    """A fix for a name that is not known: the new name of an old key, the nearest name, or all that are allowed."""
    if RENAMED.get(given) in allowed:
        return f"`{given}` is called `{RENAMED[given]}` now; {NEW_VALUES.get(RENAMED[given], 'its value stays')}"
    close = difflib.get_close_matches(given, allowed, n=1)
    listing = ", ".join(sorted(allowed)) or "nothing"
    return f"did you mean '{close[0]}'? (allowed: {listing})" if close else f"allowed here: {listing}"


def _allowed(path: Path_) -> list[str]:
    """The keys that are allowed where `path` ends, found by walking the models' fields."""
    parts: list[type[Part]] = [Plan]
    for name in path[:-1]:
        inner = [child for part in parts if name in part.model_fields for child in _parts_of(part.model_fields[name])]
        parts = inner or parts
    return list(dict.fromkeys(name for part in parts for name in part.model_fields))


def _parts_of(annotation: Any) -> list[type[Part]]:
    annotation = getattr(annotation, "annotation", annotation)
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return [annotation]
    return [part for argument in getattr(annotation, "__args__", ()) for part in _parts_of(argument)]
