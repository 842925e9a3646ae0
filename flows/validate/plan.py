"""Everything that a plan names is checked here, before the first second of work, and becomes cells.

A cell is model × method × engine. What cannot work is a cell too, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from engines.runtime.environments import PROGRAMS, EnvironmentFailed, interpreter_command, known_environments, resolve
from engines.telemetry.device import find_device
from engines.types import Device
from evals.load.traces import TraceRequest
from flows.plan.changes import UNCHANGED, Changes
from flows.plan.schema import Plan
from flows.plan.source import PlanError, PlanFile, Problem, load_plan, lower_first, suggestion
from flows.sources.model_facts import ModelFacts, look_up_model
from flows.sources.model_names import with_distinct_names
from flows.sources.samples import SourceError
from flows.validate.checkpoints import stored_problems
from flows.validate.compute_types import mixed_dtypes, served_by_dtype
from flows.validate.engines import baseline_problems, choose_engines, pythons_to_fetch, reason_against
from flows.validate.loads import (
    longest_text,
    open_file_problems,
    prompts_problems,
    queue_warnings,
    read_traces,
    size_warnings,
    slo_problems,
    window_problems,
)
from flows.validate.matrix import Cell, EngineChoice, Quantization
from flows.validate.methods import calibration_problems, group_problems, resolve_quantizations
from flows.validate.resolved import ResolvedPlan
from flows.validate.tasks import SAMPLE_DATA, data_problems, find_tasks, task_problems, task_specs
from quant.canonical_json import named_path

MOST_CELLS = 10_000
REFERENCE_ENVIRONMENT = "transformers"


def check(
    parsed: PlanFile, *, data_root: str | None = None, base: Path | None = None, device: Device | None = None
) -> ResolvedPlan:
    """Validate all that the plan names. Raises PlanError with every problem found.

    `data_root` replaces the plan's `data`; it is relative to the working directory, the plan's own paths are
    relative to `base`, which is the plan's folder, or what stands for it in a bundle. `device` is one of another
    machine.
    """
    if data_root is not None:
        data = data_root if data_root in ("hub", SAMPLE_DATA) else str(named_path(Path.cwd(), data_root))
        parsed = replace(parsed, plan=parsed.plan.model_copy(update={"data": data}))
    plan, base = parsed.plan, base or parsed.file.resolve().parent
    problems: list[Problem] = []
    device = device or _device(parsed, problems)
    models = _models(parsed, base, problems)
    quantizations = resolve_quantizations(parsed, base, problems)
    choices = choose_engines(parsed, device, quantizations, problems)
    if (count := len(models) * len(quantizations) * len(choices)) > MOST_CELLS:
        fix = "split the plan, or leave out cells that cannot win"
        problems.append(parsed.problem((), f"the plan has {count} cells (at most {MOST_CELLS})", fix))
        raise PlanError(parsed.file, problems)
    suitable = [model for model in models if model.unsuitable is None]
    unsuitable = list(unsuitable_problems(parsed, models))
    problems += [] if suitable else unsuitable
    known = find_tasks(parsed, base, problems)
    problems += [*task_problems(parsed, known), *data_problems(parsed, base, known)] if known else []
    problems += _named_problems(parsed, base, suitable, quantizations)
    traces = read_traces(parsed, base, problems)
    problems += [*_environment_problems(parsed, quantizations, choices), *window_problems(parsed, suitable, traces)]
    problems += [*slo_problems(parsed), *open_file_problems(parsed)]
    if device is not None:
        problems += dict.fromkeys(baseline_problems(parsed, quantizations, choices, device))
    if problems or device is None or known is None:
        raise PlanError(parsed.file, problems)
    served = served_by_dtype(plan, choices, quantizations, device)
    cells = _cells(plan, models, served, device, traces)
    queues = queue_warnings(plan, (choice for choice, _ in served), device)
    lines = [f"{parsed.file}:{problem.line}: {problem.message} ({problem.fix})" for problem in unsuitable]
    lines += pythons_to_fetch(plan, [cell for cell in cells if cell.unsupported is None])
    warnings = (*lines, *mixed_dtypes(served, device), *dict.fromkeys(queues), *size_warnings(plan, traces))
    return ResolvedPlan(
        plan,
        parsed.file,
        base,
        device,
        parsed.text,
        selected(parsed, cells),
        task_specs(plan, known),
        data_root,
        traces,
        warnings=warnings,
        changes=parsed.changes,
    )


def _cells(
    plan: Plan,
    models: Sequence[ModelFacts],
    served: Sequence[tuple[EngineChoice, Sequence[Quantization]]],
    device: Device,
    traces: Mapping[str, Sequence[TraceRequest]],
) -> tuple[Cell, ...]:
    """All that the plan asks for, in its order, each with why it cannot be measured, if so."""
    architectures = [model.architecture.within(longest_text(plan, traces, model.gate_tokens)) for model in models]
    return tuple(
        Cell(
            model,
            quantization,
            choice,
            model.unsuitable or reason_against(plan, quantization, choice, device, architecture),
        )
        for model, architecture in zip(models, architectures, strict=True)
        for choice, group in served
        for quantization in group
    )


def _named_problems(
    parsed: PlanFile, base: Path, models: Sequence[ModelFacts], quantizations: Sequence[Quantization]
) -> list[Problem]:
    """Of what the plan names beside models, engines and tasks."""
    return [
        *group_problems(parsed, models, quantizations),
        *stored_problems(parsed, models, quantizations),
        *prompts_problems(parsed, base),
        *calibration_problems(parsed, base, quantizations),
    ]


def load_and_check(
    file: Path,
    changes: Changes = UNCHANGED,
    *,
    data_root: str | None = None,
    base: Path | None = None,
    device: Device | None = None,
) -> ResolvedPlan:
    """Read a plan, with the changes of a command line, and validate all that it names. Raises PlanError with every
    problem of shape and of names, and UnusableChange.
    """
    try:
        parsed = load_plan(file, changes)
    except PlanError as error:
        if error.rest is None:
            raise
        try:
            check(error.rest, data_root=data_root, base=base, device=device)
        except PlanError as others:
            raise PlanError(error.rest.file, [*error.problems, *others.problems]) from error
        raise
    return check(parsed, data_root=data_root, base=base, device=device)


def selected(parsed: PlanFile, cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells that `--only` and `--exclude` leave, and the baselines of their engines and models: every comparison is
    with these. Raises PlanError where none is left.
    """
    changes = parsed.changes
    chosen = [cell for cell in cells if changes.selects(cell.name)]
    if not chosen:
        names = ", ".join(dict.fromkeys(cell.name for cell in cells))
        fix = f"give globs of its cells, in quotes: {names}"
        raise PlanError(parsed.file, [parsed.problem((), f"no cell is left by{changes.words}", fix)])
    served = {(cell.model.location, id(cell.choice)) for cell in chosen}

    def stays(cell: Cell) -> bool:
        is_baseline = cell.quantization.scheme.unquantized and (cell.model.location, id(cell.choice)) in served
        return is_baseline or changes.selects(cell.name)

    return tuple(filter(stays, cells))


def check_quantizations(parsed: PlanFile) -> tuple[ModelFacts, list[Quantization]]:
    """A plan's one model and what its last entry makes of it, whatever serves that. Raises PlanError."""
    problems: list[Problem] = []
    base, last = parsed.file.resolve().parent, len(parsed.plan.methods) - 1
    device, models = _device(parsed, problems), _models(parsed, base, problems)
    quantizations = resolve_quantizations(parsed, base, problems)
    problems += [*group_problems(parsed, models, quantizations), *stored_problems(parsed, models, quantizations)]
    problems += [*calibration_problems(parsed, base, quantizations), *_environment_problems(parsed, quantizations, ())]
    wanted = [quantization for quantization in quantizations if quantization.position == last]
    problems += unsuitable_problems(parsed, models)
    if device is not None and wanted and models:
        method = wanted[0].method
        if reason := method.unsupported(device.kind) or method.unsupported_model(models[0].architecture):
            fix = "choose another method, another model, or another machine"
            problems.append(parsed.problem(("methods", last), reason, fix))
    if problems:
        raise PlanError(parsed.file, problems)
    return models[0], wanted


def _device(parsed: PlanFile, problems: list[Problem]) -> Device | None:
    try:
        return find_device(parsed.plan.device)
    except ValueError as error:
        fix = "use `device: cpu`, install the driver, or name whole GPUs in CUDA_VISIBLE_DEVICES (`nvidia-smi -L`)"
        problems.append(parsed.problem(("device",), str(error), fix))
        return None


def _models(parsed: PlanFile, base: Path, problems: list[Problem]) -> list[ModelFacts]:
    models: list[ModelFacts] = []
    for index, text in enumerate(parsed.plan.models):
        try:
            facts = look_up_model(text, base)
        except SourceError as error:
            problems.append(parsed.problem(("models", index), error.message, error.fix))
            continue
        if any(model_facts.location == facts.location for model_facts in models):
            problems.append(parsed.problem(("models", index), f"model '{text}' appears twice", "keep one of them"))
        models.append(facts)
    return with_distinct_names(models)


def unsuitable_problems(parsed: PlanFile, models: Sequence[ModelFacts]) -> Iterator[Problem]:
    """The models that nothing can quantize or serve, each at its line; their reasons end with what to do. None while
    others are not found.
    """
    for index, model in enumerate(models):
        if model.unsuitable is not None and len(models) == len(parsed.plan.models):
            reason, _, fix = model.unsuitable.rpartition(". ")
            yield parsed.problem(("models", index), f"{model.name} is unsuitable: {reason}", lower_first(fix))


def _environment_problems(
    parsed: PlanFile, quantizations: Sequence[Quantization], choices: Sequence[EngineChoice]
) -> Iterator[Problem]:
    known = [*known_environments(), *PROGRAMS]
    for name, given in parsed.plan.environments.items():
        where = ("environments", name)
        if name not in known:
            yield parsed.problem(where, f"unknown environment '{name}'", suggestion(name, known))
            continue
        stand_in = given.model_dump(exclude_none=True)
        try:
            _ = interpreter_command(name, stand_in) if given.python else resolve(name, stand_in)
        except EnvironmentFailed as error:
            wanted = "an image that is on this machine" if given.image else "a path that runs"
            yield parsed.problem(where, str(error), f"give {wanted}, or remove the entry to build one")
    needed = {quantization.method.environment for quantization in quantizations}
    needed |= {choice.environment_for(quantization.format) for choice in choices for quantization in quantizations} - {
        ""
    }
    for name in sorted(needed - set(known)):
        yield parsed.problem((), f"environment '{name}' has no file", f"add configs/environments/{name}.txt")
