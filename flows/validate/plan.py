"""Everything that a plan names is checked here, before the first second of work, and becomes cells.

A cell is model × method × engine. What cannot work is a cell too, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from engines.runtime.environments import PROGRAMS, EnvironmentFailed, known_environments, resolve
from engines.telemetry.device import find_device
from engines.types import Device
from flows.plan.source import PlanError, PlanFile, Problem, suggestion
from flows.sources.models import ModelFacts, look_up_model, with_distinct_names
from flows.sources.samples import SourceError
from flows.validate.checkpoints import stored_problems
from flows.validate.compute_types import mixed_dtypes, served_by_dtype
from flows.validate.engines import baseline_problems, choose_engines, unsupported
from flows.validate.loads import prompts_problems, queue_warnings, read_traces, slo_problems, window_problems
from flows.validate.matrix import Cell, EngineChoice, Quantization
from flows.validate.methods import calibration_problems, group_problems, resolve_quantizations
from flows.validate.resolved import ResolvedPlan
from flows.validate.tasks import data_problems, task_problems, task_specs

REFERENCE_ENVIRONMENT = "transformers"


def check(parsed: PlanFile, *, data_root: str | None = None) -> ResolvedPlan:
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
    quantizations = resolve_quantizations(parsed, base, problems)
    choices = choose_engines(parsed, device, quantizations, problems)
    problems += [*group_problems(parsed, models, quantizations), *stored_problems(parsed, models, quantizations)]
    problems += [
        *task_problems(parsed),
        *data_problems(parsed, base),
        *prompts_problems(parsed, base),
        *calibration_problems(parsed, base, quantizations),
    ]
    traces = read_traces(parsed, base, problems)
    problems += [*_environment_problems(parsed, quantizations, choices), *window_problems(parsed, models, traces)]
    problems += slo_problems(parsed)
    if device is not None:
        problems += dict.fromkeys(baseline_problems(parsed, quantizations, choices, device))
    if problems or device is None:
        raise PlanError(parsed.file, problems)
    served = served_by_dtype(plan, choices, quantizations, device)
    cells = tuple(
        Cell(model, quantization, choice, unsupported(quantization, choice, device))
        for model in models
        for choice, group in served
        for quantization in group
    )
    queues = queue_warnings(plan, (choice for choice, _ in served), device)
    warnings = (*mixed_dtypes(served, device), *dict.fromkeys(queues))
    return ResolvedPlan(plan, parsed.file, base, device, cells, task_specs(plan), data_root, traces, warnings=warnings)


def check_quantizations(parsed: PlanFile) -> tuple[ModelFacts, list[Quantization]]:
    """A plan's one model and what its last entry makes of it, whatever serves that. Raises PlanError."""
    problems: list[Problem] = []
    base, last = parsed.file.resolve().parent, len(parsed.plan.methods) - 1
    device, models = _device(parsed, problems), _models(parsed, base, problems)
    quantizations = resolve_quantizations(parsed, base, problems)
    problems += [*group_problems(parsed, models, quantizations), *stored_problems(parsed, models, quantizations)]
    problems += [*calibration_problems(parsed, base, quantizations), *_environment_problems(parsed, quantizations, ())]
    wanted = [quantization for quantization in quantizations if quantization.position == last]
    if device is not None and wanted and (reason := wanted[0].method.unsupported(device.kind)):
        problems.append(parsed.problem(("methods", last), reason, "choose another method, or another machine"))
    if problems:
        raise PlanError(parsed.file, problems)
    return models[0], wanted


def _device(parsed: PlanFile, problems: list[Problem]) -> Device | None:
    try:
        return find_device(parsed.plan.device)
    except ValueError as error:
        problems.append(parsed.problem(("device",), str(error), "use `device: cpu` or install the driver"))
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
            wanted = "an image that is on this machine" if given.image else "a path that runs"
            yield parsed.problem(where, str(error), f"give {wanted}, or remove the entry to build one")
    needed = {quantization.method.environment for quantization in quantizations}
    needed |= {choice.environment_for(quantization.format) for choice in choices for quantization in quantizations} - {
        ""
    }
    for name in sorted(needed - set(known)):
        yield parsed.problem((), f"environment '{name}' has no file", f"add configs/environments/{name}.txt")
