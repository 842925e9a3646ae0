"""The engines of a plan: their options, the servers that are attached, which methods they take, their baselines."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engines.parallelism import too_many
from engines.redaction import hide_key
from engines.registry import Engine, engines_by_name, registered_engines
from engines.runtime.environments import PROGRAMS, EnvironmentFailed, program_path
from engines.runtime.installing.pythons import python_fault, python_note
from engines.types import Attached, Device, Serving
from engines.user_arguments import own_options, refusals, with_users
from flows.plan.schema import EnginePlan, Plan
from flows.plan.source import PlanFile, Problem, suggestion
from flows.validate.matrix import Cell, EngineChoice, Quantization
from flows.validate.parameters import fill
from quant.errors import program
from quant.plugins import reason_for
from quant.types import UNKNOWN_ARCHITECTURE, Architecture

MOST_OPTION_SETS, MOST_CHOICES = 256, 1000


def choose_engines(
    parsed: PlanFile, device: Device | None, quantizations: Sequence[Quantization], problems: list[Problem]
) -> list[EngineChoice]:
    """The plan's engines in its order, once for each set of options, without those that are not known; adds what is
    wrong to `problems`.
    """
    choices: list[EngineChoice] = []
    for index, entry in enumerate(parsed.plan.engines):
        where: tuple[str | int, ...] = ("engines", index)
        engine = engines_by_name().get(entry.engine)
        if engine is None:
            fix = suggestion(entry.engine, list(engines_by_name()))
            message = f"unknown engine '{entry.engine}'{reason_for(entry.engine, registered_engines()[1])}"
            problems.append(parsed.problem((*where, "engine"), message, fix))
            continue
        wrong: list[Problem] = [*_list_problems(parsed, entry, where)]
        for options in option_sets(entry.options) if not wrong else []:
            choice = _choice(parsed, device, engine, index, options, wrong)
            if choice is not None and choice in choices:
                message = f"engine '{entry.engine}' appears twice with equal options"
                wrong.append(parsed.problem(where, message, "remove one, or change an option"))
            choices += [choice] if choice is not None else []
        problems += dict.fromkeys(wrong)  # what is wrong in every set is told once
        if len(choices) > MOST_CHOICES:
            message = f"the engines have over {MOST_CHOICES} sets of options"
            problems.append(parsed.problem(("engines",), message, "leave out sets that cannot win"))
            break
        problems += _attach_problems(parsed, entry, engine, where, quantizations)
        problems += _restriction_problems(parsed, entry, where, quantizations)
    problems += dict.fromkeys(_left_out_problems(parsed, choices, quantizations))
    return choices


def option_sets(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every combination of the values of those options that have a list of them."""
    values = [value if isinstance(value, list) else [value] for value in given.values()]
    return [dict(zip(given, combination, strict=True)) for combination in itertools.product(*values)]


def _list_problems(parsed: PlanFile, entry: EnginePlan, where: tuple[str | int, ...]) -> Iterator[Problem]:
    sets = math.prod(len(value) for value in entry.options.values() if isinstance(value, list))
    if sets > MOST_OPTION_SETS:
        message = f"the lists of options have {sets} combinations (at most {MOST_OPTION_SETS})"
        yield parsed.problem((*where, "options"), message, "shorten the lists, or write the combinations that matter")
    for name in (name for name, value in entry.options.items() if isinstance(value, list)):
        place = (*where, "options", name)
        if not entry.options[name]:
            yield parsed.problem(place, f"option '{name}' has an empty list of values", "give at least one value")
        if entry.attach is not None:
            message = f"an attached server runs with one '{name}', and this entry has a list"
            yield parsed.problem(place, message, "attach one server for each value, in an entry of its own")


def _choice(
    parsed: PlanFile,
    device: Device | None,
    engine: Engine,
    index: int,
    given: Mapping[str, Any],
    problems: list[Problem],
) -> EngineChoice | None:
    """One entry with one set of its options; None after adding what is wrong with them to `problems`."""
    entry, where = parsed.plan.engines[index], ("engines", index, "options")
    options = fill(parsed, engine.options, given, where, entry.engine, problems)
    if options is None:
        return None
    why = engine.refused(options, device) if device else None
    if why:
        problems.append(parsed.problem(where, why, "remove that option"))
    options = with_users(options, entry.arguments, entry.env)
    problems += _users_problems(parsed, engine, index, options, device)
    environment = engine.environments.get(device.kind, "") if device and not entry.attach else ""
    missing = _missing(parsed, environment)
    if device is not None and device.kind == "cuda" and not entry.attach:
        stand_in = parsed.plan.environments.get(environment)  # a container may be given some of the GPUs
        gpus = min(len(set(stand_in.gpus)), device.count) if stand_in and stand_in.gpus is not None else device.count
        missing = missing or too_many(options, gpus)
    attached = Attached(entry.attach.url, entry.attach.key_variable, entry.attach.model) if entry.attach else None
    return EngineChoice(engine, options, environment, attached, missing, index)


def _users_problems(
    parsed: PlanFile, engine: Engine, index: int, options: Mapping[str, Any], device: Device | None
) -> Iterator[Problem]:
    """Arguments and variables of the user's that the engine sets itself, or that nothing can be given to."""
    if own_options(options) == options or device is None:
        return
    if parsed.plan.engines[index].attach is not None:
        message = "an attached server is not started here: `arguments` and `env` have no effect"
        yield parsed.problem(("engines", index), message, "give them where that server is started")
        return
    launch = engine.launch(Serving(Path("checkpoint"), device, 1, 1), **own_options(options))
    stand_in = parsed.plan.environments.get(engine.environments.get(device.kind, ""))
    for kind, why in refusals(launch, options, in_image=bool(stand_in and stand_in.image)):
        fix = f"remove it; the options of '{engine.name}' are listed by `{program()} engines {engine.name}`"
        yield parsed.problem(("engines", index, kind), f"engine '{engine.name}': {why}", fix)


def _missing(parsed: PlanFile, environment: str) -> str | None:
    """Why a program that is not built here cannot be started. A stand-in that is wrong is told elsewhere."""
    if environment not in PROGRAMS or environment in parsed.plan.environments:
        return None
    try:
        program_path(environment)
    except EnvironmentFailed as error:
        return str(error)
    return None


def reason_against(
    plan: Plan, quantization: Quantization, choice: EngineChoice, device: Device, architecture: Architecture
) -> str | None:
    """Why this pair cannot work here, for want of a Python either, or None."""
    if reason := unsupported(quantization, choice, device, architecture):
        return reason
    return next(filter(None, map(python_fault, _built_here(plan, quantization, choice))), None)


def pythons_to_fetch(plan: Plan, cells: Sequence[Cell]) -> list[str]:
    """A line for each environment of these that waits for a Python that is not here."""
    names = {name for cell in cells for name in _built_here(plan, cell.quantization, cell.choice)}
    return [note for name in sorted(names) if (note := python_note(name))]


def _built_here(plan: Plan, quantization: Quantization, choice: EngineChoice) -> list[str]:
    names = [quantization.method.environment, "" if choice.attached else choice.environment_for(quantization.format)]
    return [name for name in names if name and name not in PROGRAMS and name not in plan.environments]


def _attach_problems(
    parsed: PlanFile, entry: EnginePlan, engine: Engine, where: tuple[str | int, ...], quantized: Sequence[Quantization]
) -> Iterator[Problem]:
    if entry.attach is None:
        if not engine.environments:
            message = f"engine '{entry.engine}' starts no server"
            yield parsed.problem((*where, "engine"), message, "add `attach: {url: …}`: the address of one that runs")
        return
    key = entry.attach.key_variable
    value, place = os.environ.get(key or "", ""), (*where, "attach", "key_variable")
    hide_key(value)
    if key and not value:
        message = f"the environment variable {key} is not set"
        yield parsed.problem(place, message, f"export {key}=… (the server's key)")
    elif not all("!" <= character <= "~" for character in value):
        message = f"the environment variable {key} contains a space, a line end or a non-ASCII character"
        yield parsed.problem(place, message, f"export {key}=… again, with the key only")
    served = [quantization for quantization in quantized if takes(quantization, entry)]
    if len(served) != 1 or len(parsed.plan.models) != 1:
        message = (
            f"an attached server serves one checkpoint, and this entry has {len(served) * len(parsed.plan.models)}"
        )
        fix = "name the checkpoint it serves: `methods: [label]`, in a plan with one model"
        yield parsed.problem((*where, "attach"), message, fix)


def _restriction_problems(
    parsed: PlanFile, entry: EnginePlan, where: tuple[str | int, ...], quantizations: Sequence[Quantization]
) -> Iterator[Problem]:
    names = {quantization.method.name for quantization in quantizations} | {
        quantization.label for quantization in quantizations
    }
    resolved = {quantization.position for quantization in quantizations}
    if len(resolved) < len(parsed.plan.methods):
        return  # a method is wrong, which is said where it stands; nothing is known of its labels
    for position, name in enumerate(entry.methods or []):
        if name not in names:
            message = f"engine '{entry.engine}' is restricted to '{name}', which is not among the methods"
            yield parsed.problem((*where, "methods", position), message, suggestion(name, sorted(names)))


def _left_out_problems(
    parsed: PlanFile, choices: Sequence[EngineChoice], quantizations: Sequence[Quantization]
) -> Iterator[Problem]:
    """Restrictions that leave an engine with its options without any baseline."""
    baselines = [quantization for quantization in quantizations if quantization.scheme.unquantized]
    for choice in choices:
        entries = [parsed.plan.engines[other.entry] for other in _alike(choice, choices)]
        if baselines and not any(takes(baseline, entry) for baseline in baselines for entry in entries):
            message = f"engine '{choice.engine.name}' leaves out the baseline"
            fix = f"add '{baselines[0].method.name}': the engine is checked with it first"
            yield parsed.problem(("engines", choice.entry, "methods"), message, fix)


def _alike(choice: EngineChoice, choices: Sequence[EngineChoice]) -> list[EngineChoice]:
    return [other for other in choices if other.engine is choice.engine and other.options == choice.options]


def takes(quantization: Quantization, entry: EnginePlan) -> bool:
    """Whether the engine's entry in the plan takes this quantization, by method or by label."""
    return not entry.methods or bool({quantization.method.name, quantization.label} & set(entry.methods))


def baseline_problems(
    parsed: PlanFile, quantizations: Sequence[Quantization], choices: Sequence[EngineChoice], device: Device
) -> Iterator[Problem]:
    """An engine that loads none of the plan's baselines can be compared with nothing."""
    for choice in choices:
        entries = [parsed.plan.engines[other.entry] for other in _alike(choice, choices)]
        taken = [quantization for quantization in quantizations if any(takes(quantization, entry) for entry in entries)]
        works = [quantization for quantization in taken if not unsupported(quantization, choice, device)]
        if works and not any(quantization.scheme.unquantized for quantization in works):
            message = f"engine '{choice.engine.name}' loads no baseline of this plan"
            fix = f"add an unquantized method in the format '{works[0].format}', which it loads"
            yield parsed.problem(("engines", choice.entry, "engine"), message, fix)


def unsupported(
    quantization: Quantization, choice: EngineChoice, device: Device, architecture: Architecture = UNKNOWN_ARCHITECTURE
) -> str | None:
    """Why this pair cannot work on this device with a model of this architecture, or None. What an attached server
    loads is its own affair.
    """
    method, engine = quantization.method, choice.engine
    if reason := method.unsupported(device.kind) or method.unsupported_model(architecture):
        return reason
    if choice.attached:
        return None
    if not choice.environment:
        return f"{engine.name} has no environment for the device kind '{device.kind}'"
    scheme, stored_as = quantization.scheme, quantization.format
    if reason := choice.missing or engine.unsupported(scheme, stored_as, device, choice.options):
        return reason
    return engine.unsupported_model(architecture, scheme, stored_as, device, choice.options)
