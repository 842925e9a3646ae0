"""Methods of a plan: parameters, calibration, group sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.plan.source import PlanFile, Problem, suggestion
from flows.sources.calibration import read_calibration
from flows.sources.checkpoints import find_stored
from flows.sources.model_facts import ModelFacts
from flows.sources.samples import SourceError
from flows.validate.matrix import Quantization
from flows.validate.parameters import fill
from flows.validate.tasks import SAMPLE_DATA
from quant.checkpoints.safetensors import CheckpointError
from quant.hashing import digest
from quant.plugins import reason_for
from quant.registry import Method, methods, registered_methods

UNREADABLE = "give a whole folder of safetensors, GGUF or OpenVINO, with its config.json"


def resolve_quantizations(parsed: PlanFile, base: Path, problems: list[Problem]) -> list[Quantization]:
    quantizations: list[Quantization] = []
    seen: set[str] = set()
    for index, entry in enumerate(parsed.plan.methods):
        where: tuple[str | int, ...] = ("methods", index)
        chosen = methods().get(entry.method)
        if chosen is None:
            message = f"unknown method '{entry.method}'{reason_for(entry.method, registered_methods()[1])}"
            problems.append(parsed.problem((*where, "method"), message, suggestion(entry.method, list(methods()))))
            continue
        parameters = fill(parsed, chosen.parameters, entry.parameters, (*where, "parameters"), entry.method, problems)
        if parameters is None:
            continue
        for seed in entry.seeds or (None,):
            quantization = _quantization(parsed, base, index, chosen, parameters, seed, problems)
            if quantization is not None:
                problems += _entry_problems(parsed, quantization, seen)
                quantizations.append(quantization)
    if quantizations and not any(quantization.scheme.unquantized for quantization in quantizations):
        fix = "add `- method: none`: every comparison is with the unquantized model"
        problems.append(parsed.problem(("methods",), "no baseline among the methods", fix))
    return quantizations


def _entry_problems(parsed: PlanFile, quantization: Quantization, seen: set[str]) -> Iterator[Problem]:
    """What is wrong with an entry beside those before it, whose contents and labels are `seen`, and with its
    calibration.
    """
    entry, where = parsed.plan.methods[quantization.position], ("methods", quantization.position)
    content, label = (
        digest([quantization.method.name, quantization.parameters, quantization.calibration]),
        f"called {quantization.label}",
    )
    if content in seen:
        if not (entry.seeds and quantization.calibration is None):
            message = f"method '{entry.method}' appears twice with equal parameters"
            yield parsed.problem(where, message, "remove one, or change a parameter")
    elif label in seen:
        yield parsed.problem(where, f"two methods are both called '{quantization.label}'", "give one of them a `name:`")
    seen |= {content, label}
    given = "seeds" if entry.seeds else "calibration"
    if (entry.seeds or entry.calibration) and quantization.calibration is None:
        message = f"method '{entry.method}' uses no calibration with these parameters"
        yield parsed.problem((*where, given), message, f"remove `{given}:` here")


def _quantization(
    parsed: PlanFile,
    base: Path,
    position: int,
    method: Method,
    parameters: Mapping[str, Any],
    seed: int | None,
    problems: list[Problem],
) -> Quantization | None:
    """The plan's entry at `position` with one of its seeds; None after adding what is wrong with a checkpoint of it."""
    plan, entry = parsed.plan, parsed.plan.methods[position]
    try:
        stored = {p.name: find_stored(parameters[p.name], base) for p in method.parameters if p.stored}
        filled = {**parameters, **{name: str(checkpoint.folder) for name, checkpoint in stored.items()}}
        scheme, checkpoint_format = method.scheme(filled), method.format(filled)
    except (SourceError, CheckpointError) as error:
        message, fix = (error.message, error.fix) if isinstance(error, SourceError) else (str(error), UNREADABLE)
        problems.append(parsed.problem(("methods", position, "parameters"), message, fix))
        return None
    calibration = None
    if method.needs_calibration(parameters):
        change = entry.calibration.model_dump(exclude_none=True) if entry.calibration else {}
        settings = plan.calibration.model_copy(update=change | ({} if seed is None else {"seed": seed}))
        calibration = (settings.samples, settings.length, settings.seed)
    label = (entry.name or f"{method.name} {scheme.label}") + ("" if seed is None else f" seed {seed}")
    return Quantization(position, method, label, parameters, scheme, checkpoint_format, calibration, stored)


def group_problems(
    parsed: PlanFile, models: Sequence[ModelFacts], quantizations: Sequence[Quantization]
) -> Iterator[Problem]:
    for quantization in quantizations:
        size = quantization.scheme.group_size
        if size is None or quantization.stored:
            continue
        where = ("methods", quantization.position, "parameters", "group_size")
        for model in models:
            wrong = [width for width in model.widths if width % size]
            if wrong:
                fits = fitting_group_size(model)
                message = f"group_size {size} does not divide the layer width {wrong[0]} of {model.name}"
                yield parsed.problem(where, message, f"use {fits}" + ("" if fits else " (one scale per channel)"))


def fitting_group_size(model: ModelFacts) -> int:
    """The largest of the usual sizes that divides all of the model's layers; 0 (one scale per channel) if none does."""
    return next((size for size in (128, 64, 32, 16) if all(width % size == 0 for width in model.widths)), 0)


def calibration_problems(parsed: PlanFile, base: Path, quantizations: Sequence[Quantization]) -> Iterator[Problem]:
    text = parsed.plan.calibration.text
    if text != SAMPLE_DATA and any(quantization.calibration for quantization in quantizations):
        try:
            read_calibration(text, base)
        except SourceError as error:
            yield parsed.problem(("calibration", "text"), error.message, error.fix)
