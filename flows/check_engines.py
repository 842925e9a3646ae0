"""The engines of a plan: their options, the servers that are attached, which methods they take, their baselines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from engines.environment import PROGRAMS, EnvironmentFailed, resolve
from engines.registry import Engine, engines_by_name
from engines.spec import Attached, Device
from flows.cells import EngineChoice, Quantization
from flows.check_parameters import fill
from flows.plan import EnginePlan, PlanFile, Problem, suggestion


def choose_engines(
    parsed: PlanFile, device: Device | None, quantizations: Sequence[Quantization], problems: list[Problem]
) -> list[EngineChoice]:
    """The plan's engines in its order, without those that are not known; adds what is wrong to `problems`."""
    found: list[EngineChoice] = []
    for index, entry in enumerate(parsed.plan.engines):
        where: tuple[str | int, ...] = ("engines", index)
        engine = engines_by_name().get(entry.engine)
        if engine is None:
            fix = suggestion(entry.engine, list(engines_by_name()))
            problems.append(parsed.problem((*where, "engine"), f"unknown engine '{entry.engine}'", fix))
            continue
        options = fill(parsed, engine.options, entry.options, (*where, "options"), entry.engine, problems)
        if options is None:
            continue
        why = engine.refused(options, device) if device else None
        if why:
            problems.append(parsed.problem((*where, "options"), why, "remove that option"))
        environment = engine.environments.get(device.kind, "") if device and not entry.attach else ""
        choice = EngineChoice(engine, options, environment, _attached(entry), _missing(parsed, environment))
        if choice in found:
            what = f"engine '{entry.engine}' appears twice with equal options"
            problems.append(parsed.problem(where, what, "remove one, or change an option"))
        problems += _attach_problems(parsed, entry, engine, where, quantizations)
        problems += _restriction_problems(parsed, entry, where, quantizations)
        found.append(choice)
    return found


def _missing(parsed: PlanFile, environment: str) -> str | None:
    """Why a program that is not built here cannot be started. A stand-in that is wrong is told elsewhere."""
    if environment not in PROGRAMS or environment in parsed.plan.environments:
        return None
    try:
        resolve(environment)
    except EnvironmentFailed as error:
        return str(error)
    return None


def _attached(entry: EnginePlan) -> Attached | None:
    return Attached(entry.attach.url, entry.attach.key_variable, entry.attach.model) if entry.attach else None


def _attach_problems(
    parsed: PlanFile, entry: EnginePlan, engine: Engine, where: tuple[str | int, ...], quantized: Sequence[Quantization]
) -> Iterator[Problem]:
    if entry.attach is None:
        if not engine.environments:
            what = f"engine '{entry.engine}' starts no server"
            yield parsed.problem((*where, "engine"), what, "add `attach: {url: …}`: the address of one that runs")
        return
    key = entry.attach.key_variable
    if key and not os.environ.get(key):
        what = f"the environment variable {key} is not set"
        yield parsed.problem((*where, "attach", "key_variable"), what, f"export {key}=… (the server's key)")
    served = [one for one in quantized if takes(one, entry)]
    if len(served) != 1 or len(parsed.plan.models) != 1:
        what = f"an attached server serves one checkpoint, and this entry has {len(served) * len(parsed.plan.models)}"
        fix = "name the one that it serves: `methods: [label]`, in a plan with one model"
        yield parsed.problem((*where, "attach"), what, fix)


def _restriction_problems(
    parsed: PlanFile, entry: EnginePlan, where: tuple[str | int, ...], quantizations: Sequence[Quantization]
) -> Iterator[Problem]:
    names = {one.method.name for one in quantizations} | {one.label for one in quantizations}
    for position, name in enumerate(entry.methods or []):
        if name not in names:
            what = f"engine '{entry.engine}' is restricted to '{name}', which is not among the methods"
            yield parsed.problem((*where, "methods", position), what, suggestion(name, sorted(names)))
    baselines = [one for one in quantizations if one.scheme.unquantized]
    alike = [one for one in parsed.plan.engines if (one.engine, one.options) == (entry.engine, entry.options)]
    if baselines and not any(takes(one, other) for one in baselines for other in alike):
        what = f"engine '{entry.engine}' leaves out the baseline"
        fix = f"add '{baselines[0].method.name}': its golden prompt must agree first"
        yield parsed.problem((*where, "methods"), what, fix)


def takes(one: Quantization, entry: EnginePlan) -> bool:
    """Whether the engine's entry in the plan takes this quantization, by method or by label."""
    return not entry.methods or bool({one.method.name, one.label} & set(entry.methods))


def baseline_problems(
    parsed: PlanFile, quantizations: Sequence[Quantization], choices: Sequence[EngineChoice], device: Device
) -> Iterator[Problem]:
    """An engine that loads none of the plan's baselines can be compared with nothing."""
    entries = list(zip(choices, parsed.plan.engines, strict=False))
    for index, (choice, _) in enumerate(entries):
        alike = [e for c, e in entries if c.engine is choice.engine and c.options == choice.options]
        taken = [one for one in quantizations if any(takes(one, other) for other in alike)]
        works = [one for one in taken if not unsupported(one, choice, device)]
        if works and not any(one.scheme.unquantized for one in works):
            what = f"engine '{choice.engine.name}' loads no baseline of this plan"
            fix = f"add an unquantized method in the format '{works[0].format}', which it loads"
            yield parsed.problem(("engines", index, "engine"), what, fix)


def unsupported(one: Quantization, choice: EngineChoice, device: Device) -> str | None:
    """Why this pair cannot work on this device, or None. What an attached server loads is its own affair."""
    if reason := one.method.unsupported(device.kind):
        return reason
    if choice.attached:
        return None
    if not choice.environment:
        return f"{choice.engine.name} has no environment for the device kind '{device.kind}'"
    return choice.missing or choice.engine.unsupported(one.scheme, one.format, device)
