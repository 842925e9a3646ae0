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
from ruamel.yaml.scanner import RoundTripScanner

from engines.redaction import redacted
from flows.plan.load import LoadPlan, TracePlan
from flows.plan.samples import find_plan, sample_plans
from flows.plan.schema import Plan
from flows.plan.type_errors import explain, parts_at, range_at
from quant.canonical_json import read_regular
from quant.errors import CONTROLS, BitfrontierError, reading, without_controls

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
MOST_PLAN_BYTES, MOST_BRACKETS = 2**20, 64
MOST_SHOWN, MOST_LETTERS = 100, 2000  # of problems, and of the words of each
LARGEST_WHOLE = 2**53 - 1  # up to here JSON's numbers are exact everywhere (RFC 8259, section 6)
MOST_VALUES = 100_000  # a plan of 10,000 cells has fewer; aliases of aliases can stand for billions


RANGES = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")  # pydantic's kinds of errors
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
        shown = self.problems[:MOST_SHOWN]
        lines = [f"{file}:{p.line}: {p.message:.{MOST_LETTERS}}\n  fix: {p.fix:.{MOST_LETTERS}}" for p in shown]
        if others := len(self.problems) - len(shown):
            lines.append(f"{file}: and {others} more problems")
        super().__init__(without_controls(redacted("\n".join(lines))))

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


class PlanScanner(RoundTripScanner):
    """The round-trip scanner, which takes time in the square of how deeply brackets are nested: not beyond a limit."""

    def fetch_flow_collection_start(self, TokenClass: Any, to_push: str) -> None:
        if self.flow_level >= MOST_BRACKETS:
            raise RecursionError
        super().fetch_flow_collection_start(TokenClass, to_push)


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

    def check_mapping_key(self, node: Node, key_node: Node, mapping: Any, key: Any, value: Any) -> bool:
        """As ruamel's own, whose error writes out both values, which aliases may have made endless."""
        if key in mapping:
            problem = f'found duplicate key "{str(key)[:80]}"'
            raise DuplicateKeyError(problem=problem, problem_mark=key_node.start_mark, note="keep one of them")
        return True

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

    def unreadable(words: str) -> PlanError:
        return PlanError(file, [Problem(1, words, "write it as the sample plan quickstart is written")])

    with reading("its YAML", unreadable, "No value of a plan needs more than plain YAML 1.2"):
        tree = _parse(file, plan_text(file))
    if not isinstance(tree, CommentedMap):
        fix = "start from the sample plan quickstart; `bitfrontier init` copies it"
        raise PlanError(file, [Problem(1, "the plan is empty or no mapping", fix)])
    if unusable := list(_unusable(tree, ())):
        fixes = [f"change the value of `{where[-1] if where else 'the plan'}`" for where, _ in unusable]
        lines = [(_line(tree, where), f"{dotted(where)}: {why}") for where, why in unusable]
        raise PlanError(file, [Problem(*line, fix) for line, fix in zip(lines, fixes, strict=True)])
    try:
        return PlanFile(file, Plan.model_validate(_plain(tree)), tree)
    except ValidationError as error:
        raise PlanError(file, [_problem(detail, tree) for detail in error.errors()]) from error


def _parse(file: Path, text: str) -> object:
    """The values of a YAML 1.2 text with their lines; its aliases multiply nothing without end. Raises PlanError."""
    reader = YAML()
    reader.Scanner, reader.Constructor = PlanScanner, PlanConstructor
    try:
        tree = reader.load(text)
        if _size(tree, {}) > MOST_VALUES:
            message = f"its aliases stand for more than {MOST_VALUES} values"
            raise PlanError(file, [Problem(1, message, "write the plan without aliases of aliases")])
    except MarkedYAMLError as error:
        line = (error.problem_mark.line if error.problem_mark else 0) + 1
        fix = error.note or "check indentation, colons and quotes on this line"
        raise PlanError(file, [Problem(line, f"not valid YAML: {error.problem}", fix)]) from error
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


def _unusable(value: object, where: Path_) -> Iterator[tuple[Path_, str]]:
    """The values that nothing can be done with, whatever their key takes, keys among them: where they stand and why."""
    if isinstance(value, float) and not math.isfinite(value):
        yield where, f"input should be a finite number, but it is {value!r}"
    if isinstance(value, int) and abs(value) > LARGEST_WHOLE:
        yield where, f"a whole number of {value.bit_length()} bits is too large (at most {LARGEST_WHOLE})"
    if isinstance(value, str) and CONTROLS.search(value):
        yield where, f"the text holds control characters: {value[:60]!r}"
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield from _unusable(name, (*where, name if isinstance(name, int) else ascii(name)[1:-1]))
        yield from _unusable(item, (*where, name))


def _plain(value: Any) -> Any:
    """A tree of dicts and lists without the lines."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def plan_text(file: Path) -> str:
    """What a plan's file holds. Raises PlanError."""
    try:
        return read_regular(file, MOST_PLAN_BYTES).decode()
    except FileNotFoundError as error:
        fix = f"give the path of a plan, or the name of a sample plan ({', '.join(sample_plans())})"
        raise PlanError(file, [Problem(1, "no such file", fix)]) from error
    except IsADirectoryError as error:
        raise PlanError(file, [Problem(1, "this is a folder", "give the path of a plan file in it")]) from error
    except (OSError, UnicodeDecodeError) as error:
        fix = "give a file of UTF-8 text that you may read"
        raise PlanError(file, [Problem(1, f"cannot be read: {error}", fix)]) from error


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
    numbers = f" ({numbers})" if kind in RANGES and (numbers := range_at(path)) else ""
    return Problem(
        line,
        f"{where}: {lower_first(error['msg'])}, but it is {given!r}",
        f"change the value of `{path[-1] if path else where}`{numbers}",
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
