"""A plan: YAML → validated, frozen data. Errors carry file, line, what is wrong and the fix.

YAML 1.2 (`yes` and `off` are words), without interpolation, inheritance, environment look-ups or dotted paths: a plan
is data.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from engines.redaction import redacted
from flows.plan.changes import UNCHANGED, Changes, apply_sets
from flows.plan.load import LoadPlan, TracePlan
from flows.plan.samples import find_plan, plan_like, sample_plans
from flows.plan.schema import Plan
from flows.plan.type_errors import causes, explain, parts_at, range_at, worded
from flows.plan.yaml_reader import plan_yaml
from quant.canonical_json import read_regular
from quant.errors import CONTROLS, BitfrontierError, counted, program, reading, without_controls

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
NEW_VALUES = {"scheme": f"its value is a scheme such as W4A16 (`{program()} methods NAME` lists them)"}
MOST_PLAN_BYTES = 2**20
MOST_SHOWN, MOST_LETTERS = 100, 2000  # of problems, and of the words of each
LARGEST_WHOLE = 2**53 - 1  # up to here JSON's numbers are exact everywhere (RFC 8259, section 6)
MOST_VALUES = 100_000  # a plan of 10,000 cells has fewer; aliases of aliases can stand for billions


KINDS = (LoadPlan.__name__, TracePlan.__name__, "[key]")  # pydantic names them in the place of an error


NAMING = ("models", "methods", "engines", "tasks")  # a plan without an entry of these is another one
BOUND_TO = {"load": ("slo", "search"), "slo": ("search",)}  # without the one, the other would be wrong
STAND_INS: dict[str, Any] = {
    "name": "plan",
    "load": [{"concurrency": 1, "requests": 1, "prompt_tokens": 1, "output_tokens": 2}],
}


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a plan; of its file as a whole, `line` is 0."""

    line: int
    message: str
    fix: str


class PlanError(BitfrontierError):
    """A plan is not valid. `str()` gives one `file:line: what` and one `fix:` line per problem."""

    exit_code = 2

    def __init__(self, file: Path, problems: Sequence[Problem], rest: PlanFile | None = None) -> None:
        """`rest` is the plan without what is wrong, where that is one: what it names can be looked at, too."""
        self.file, self.rest, self.problems = file, rest, sorted(problems, key=lambda problem: problem.line)
        shown = self.problems[:MOST_SHOWN]
        places = [f"{file}:{p.line}" if p.line else str(file) for p in shown]
        texts = [f"{p.message:.{MOST_LETTERS}}\n  fix: {p.fix:.{MOST_LETTERS}}" for p in shown]
        lines = [f"{place}: {text}" for place, text in zip(places, texts, strict=True)]
        if others := len(self.problems) - len(shown):
            lines.append(f"{file}: and {counted(others, 'more problem')}")
        super().__init__(without_controls(redacted("\n".join(lines))))

    @property
    def shown(self) -> str:
        return str(self)


@dataclass(frozen=True)
class PlanFile:
    """A parsed plan with the line of every value, so that later checks can point too. `text` is what it says, with
    the `changes` of a command line; `sets` are those of them that changed a value, by its place.
    """

    file: Path
    plan: Plan
    tree: CommentedMap
    text: str
    changes: Changes = UNCHANGED
    sets: Mapping[Path_, str] = field(default_factory=dict)

    def problem(self, where: Path_, message: str, fix: str) -> Problem:
        given = next((text for place, text in self.sets.items() if where[: len(place)] == place), None)
        return Problem(_line(self.tree, where), f"{message} (given by --set {given})" if given else message, fix)


def load_plan(file: Path, changes: Changes = UNCHANGED) -> PlanFile:
    """Read and validate the shape of `file`, or of the sample plan of that name, with `changes`. Raises PlanError and
    UnusableChange.

    What it names is checked by `flows.validate.plan`.
    """
    file = find_plan(file)

    def unreadable(words: str) -> PlanError:
        return PlanError(file, [Problem(1, words, "follow the sample plan quickstart")])

    with reading("its YAML", unreadable, "Use plain YAML 1.2"):
        text = plan_text(file)
        tree = _parse(file, text)
    if not isinstance(tree, CommentedMap):
        fix = f"start from the sample plan quickstart (`{program()} init` copies it)"
        raise PlanError(file, [Problem(1, "the plan is empty, or is not a mapping of keys to values", fix)])
    sets = apply_sets(tree, changes.sets)
    _check_size(file, tree)  # again: a `--set` may have aliases, too
    if unusable := list(_unusable(tree, ())):
        fixes = [f"change the value of `{where[-1] if where else 'the plan'}`" for where, _ in unusable]
        lines = [(_line(tree, where), f"{dotted(where)}: {why}") for where, why in unusable]
        raise PlanError(file, [Problem(*line, fix) for line, fix in zip(lines, fixes, strict=True)])
    values = _plain(tree)
    read = PlanFile(file, Plan.model_construct(), tree, _written(tree) if sets else text, changes, sets)
    try:
        return replace(read, plan=Plan.model_validate(values))
    except ValidationError as error:
        wrong = error.errors()
        problems, rest = [_problem(detail, read) for detail in causes(wrong)], _without(values, wrong)
        raise PlanError(file, problems, replace(read, plan=rest) if rest else None) from error


def _written(tree: CommentedMap) -> str:
    """A changed plan as YAML, with its comments."""
    out = StringIO()
    plan_yaml().dump(tree, out)
    return out.getvalue()


def _without(values: dict[str, Any], wrong: Sequence[Any]) -> Plan | None:
    """The plan without what is wrong, so that what else it names can be looked at in the same go; None where that would
    make problems of its own. Entries of lists stay where they are, since problems are found by their numbers.
    """
    for detail in wrong:
        key = detail["loc"][0] if detail["loc"] else "data"
        if key in STAND_INS:
            values[key] = STAND_INS[key]
        elif key == "data" or (key in NAMING and detail["type"] != "extra_forbidden"):
            return None
        elif key in NAMING:
            part: Any = values
            for step in detail["loc"][:-1]:
                part = part[step]
            del part[detail["loc"][-1]]
        else:
            values.pop(key, None)
        for other in BOUND_TO.get(key, ()):
            values.pop(other, None)
    try:
        return Plan.model_validate(values)
    except ValidationError:
        return None


def _parse(file: Path, text: str) -> object:
    """The values of a YAML 1.2 text with their lines; its aliases multiply nothing without end. Raises PlanError."""
    try:
        tree = plan_yaml().load(text)
        _check_size(file, tree)
    except MarkedYAMLError as error:
        line = (error.problem_mark.line if error.problem_mark else 0) + 1
        fix = error.note or "check indentation, colons and quotes on this line"
        raise PlanError(file, [Problem(line, f"not valid YAML: {error.problem}", fix)]) from error
    except YAMLError as error:
        raise PlanError(file, [Problem(1, f"not valid YAML: {error}", "save the file as plain UTF-8 text")]) from error
    except RecursionError as error:
        raise PlanError(file, [Problem(1, "it is nested too deeply", "use at most 6 levels")]) from error
    return tree


def _check_size(file: Path, tree: object) -> None:
    if _size(tree, {}) > MOST_VALUES:
        message = f"its aliases expand to more than {MOST_VALUES} values"
        raise PlanError(file, [Problem(1, message, "write the plan without nested aliases")])


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
        yield where, f"it must be a finite number, but it is {value!r}"
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
        meant = f"did you mean {like}? Otherwise " if (like := plan_like(file)) else ""
        fix = f"{meant}give the path of a plan, or the name of a sample plan ({', '.join(sample_plans())})"
        raise PlanError(file, [Problem(0, "no such file", fix)]) from error
    except IsADirectoryError as error:
        raise PlanError(file, [Problem(0, "this is a folder", "give the path of a plan file in it")]) from error
    except (OSError, UnicodeDecodeError) as error:
        fix = "give a readable UTF-8 file"
        raise PlanError(file, [Problem(0, f"cannot be read: {error}", fix)]) from error


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


def _problem(error: Any, read: PlanFile) -> Problem:
    path: Path_ = tuple(part for part in error["loc"] if part not in KINDS)
    kind, where = error["type"], dotted(path)
    if kind == "extra_forbidden":
        return read.problem(path, f"unknown key '{where}'", suggestion(str(path[-1]), _allowed(path)))
    if kind == "missing":
        fix = f"add `{path[-1]}:`; the sample plan quickstart shows every key; `{program()} init` copies it"
        return read.problem(path, f"'{where}' is missing", fix)
    if kind == "value_error":
        return read.problem(path, f"{where}: {error['ctx']['error']}", "change the value")
    explained = explain(kind, where, error.get("input"), parts_at(path))
    if explained:
        return read.problem(path, *explained)
    numbers = f" ({numbers})" if (numbers := range_at(path)) else ""
    fix = f"change the value of `{path[-1] if path else where}`{numbers}"
    return read.problem(path, worded(error, where), fix)


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
