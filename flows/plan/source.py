"""A plan: YAML → validated, frozen data. Errors carry file, line, what is wrong and the fix.

YAML 1.2 (`yes` and `off` are words), without interpolation, inheritance, environment look-ups or dotted paths: a plan
is data.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import ConstructorError, DuplicateKeyError, RoundTripConstructor, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import Node

from engines.redaction import redacted
from flows.plan.load import LoadPlan, TracePlan
from flows.plan.samples import find_plan, sample_plans
from flows.plan.schema import Plan
from flows.plan.type_errors import explain, parts_at
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
        super().__init__(redacted("\n".join(f"{file}:{p.line}: {p.message}\n  fix: {p.fix}" for p in self.problems)))

    @property
    def shown(self) -> str:
        return str(self)


@dataclass(frozen=True)
class PlanFile:
    """A parsed plan with the line of every value, so that later checks can point too."""

    file: Path
    plan: Plan
    tree: CommentedMap

    def problem(self, where: Path_, message: str, fix: str) -> Problem:
        return Problem(_line(self.tree, where), message, fix)


class PlanConstructor(RoundTripConstructor):
    """The round-trip constructor, which keeps lines and refuses duplicate keys, with the safe one's plain scalars.

    It also says where a scalar stands that YAML takes for a date or a number and cannot read, and refuses an alias
    that holds itself, which the round-trip constructor replaces by null.
    """

    def construct_object(self, node: Node, deep: bool = False) -> object:
        if node in self.recursive_objects:
            raise ConstructorError(problem="an alias holds itself", problem_mark=node.start_mark)
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            text, mark = str(node.value)[:40], node.start_mark
            note = f'write "{text}" in quotes'
            raise ConstructorError(problem=f"{text!r} is no value: {error}", problem_mark=mark, note=note) from error

    def construct_number(self, node: Node) -> float:
        """A number; 1e3 is a whole one, as YAML 1.2's JSON schema has it."""
        value: float = SafeConstructor.construct_yaml_float(self, node)
        return int(value) if "." not in node.value and value.is_integer() else value


for _tag in ("null", "bool", "int", "str", "timestamp"):
    PlanConstructor.add_constructor(f"tag:yaml.org,2002:{_tag}", getattr(SafeConstructor, f"construct_yaml_{_tag}"))
PlanConstructor.add_constructor("tag:yaml.org,2002:float", PlanConstructor.construct_number)
PlanConstructor.add_constructor(None, SafeConstructor.construct_undefined)


def load_plan(file: Path) -> PlanFile:
    """Read and validate the shape of `file`, or of the sample plan of that name. Raises PlanError.

    What it names is checked by `flows.validate.plan`.
    """
    file = find_plan(file)
    tree = _parse(file, _read(file))
    if not isinstance(tree, CommentedMap):
        fix = "start from the sample plan quickstart; `bitfrontier init` copies it"
        raise PlanError(file, [Problem(1, "the plan is empty or no mapping", fix)])
    if unbounded := list(_unbounded(tree, ())):
        raise PlanError(file, [_not_finite(tree, where, value) for where, value in unbounded])
    try:
        return PlanFile(file, Plan.model_validate(_plain(tree)), tree)
    except ValidationError as error:
        raise PlanError(file, [_problem(detail, tree) for detail in error.errors()]) from error


def _parse(file: Path, text: str) -> object:
    """The values of a YAML 1.2 text with their lines; its aliases multiply nothing without end. Raises PlanError."""
    reader = YAML()
    reader.Constructor = PlanConstructor
    try:
        tree = reader.load(text)
        if _size(tree, {}) > MOST_VALUES:
            message = f"its aliases stand for more than {MOST_VALUES} values"
            raise PlanError(file, [Problem(1, message, "write the plan without aliases of aliases")])
    except MarkedYAMLError as error:
        line = (error.problem_mark.line if error.problem_mark else 0) + 1
        problem = str(error.problem).partition(" with value ")[0]  # of a duplicate key the name, not both values
        fix = error.note or "check indentation, colons and quotes on this line"
        fix = "keep one of them" if isinstance(error, DuplicateKeyError) else fix
        raise PlanError(file, [Problem(line, f"not valid YAML: {problem}", fix)]) from error
    except YAMLError as error:
        raise PlanError(file, [Problem(1, f"not valid YAML: {error}", "save the file as plain UTF-8 text")]) from error
    except RecursionError as error:
        raise PlanError(file, [Problem(1, "it is nested too deeply", "no plan needs over 6 levels")]) from error
    return tree


def _size(value: object, known: dict[int, int]) -> int:
    """Values below a value with every alias written out."""
    if id(value) not in known:
        known[id(value)] = MOST_VALUES + 1  # until it is counted: what holds itself has no end
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        known[id(value)] = 1 + sum(_size(item, known) for item in inner)
    return known[id(value)]


def _unbounded(value: object, where: Path_) -> Iterator[tuple[Path_, float]]:
    """The numbers that are infinite or none, keys among them, and where they stand."""
    if isinstance(value, float) and not math.isfinite(value):
        yield where, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield from _unbounded(name, (*where, str(name)))
        yield from _unbounded(item, (*where, name))


def _not_finite(tree: CommentedMap, where: Path_, value: float) -> Problem:
    message = f"{dotted(where)}: input should be a finite number, but it is {value!r}"
    return Problem(_line(tree, where), message, f"change the value of `{where[-1]}`")


def _plain(value: Any) -> Any:
    """A tree of dicts and lists without the lines."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


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


def _line(tree: CommentedMap | CommentedSeq, where: Path_) -> int:
    """The line of the key or item that `where` leads to, or of the last on the way that is written out."""
    line, value = 0, tree
    for part in where:
        if not isinstance(value, CommentedMap | CommentedSeq) or part not in (value.lc.data or {}):
            break
        line, value = value.lc.data[part][0], value[part]
    return int(line) + 1


def dotted(path: Path_) -> str:
    """`methods[1].parameters.bits` for people."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".") or "the plan"


def _problem(error: Any, tree: CommentedMap) -> Problem:
    path: Path_ = tuple(part for part in error["loc"] if part not in KINDS)
    kind, where = error["type"], dotted(path)
    line = _line(tree, path)
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
    explained = explain(kind, where, given, parts_at(path))
    if explained:
        return Problem(line, *explained)
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
    close = [name for name in allowed if given and name.startswith(given)] or difflib.get_close_matches(given, allowed)
    listing = ", ".join(sorted(allowed)) or "nothing"
    return f"did you mean '{close[0]}'? (allowed: {listing})" if close else f"allowed here: {listing}"


def _allowed(path: Path_) -> list[str]:
    """The keys that are allowed where `path` ends, found by walking the models' fields."""
    return list(dict.fromkeys(name for part in parts_at(path[:-1]) for name in part.model_fields))
