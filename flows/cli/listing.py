"""What there is: `bitfrontier methods`, `bitfrontier engines`, `bitfrontier doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from rich.markup import escape
from rich.table import Table

from flows.cli.app import Json, Runs, Verbose, app
from flows.cli.sweep_command import console, errors
from quant.canonical_json import json_text


@app.command(name="methods")
def list_methods(
    name: Annotated[str | None, typer.Argument(help="Show this method alone, with its parameters.")] = None,
) -> None:
    """List the quantization methods, or one with its parameters."""
    from engines.registry import readers
    from flows.plan.source import suggestion
    from quant.plugins import reason_for
    from quant.registry import methods, registered_methods

    known = methods()
    if name is not None and name not in known:
        reason = reason_for(name, registered_methods()[1])
        errors.print(
            f"error: unknown method '{name}'{reason}; {suggestion(name, list(known))}", markup=False, highlight=False
        )
        raise typer.Exit(2)
    columns = ("method", "scheme", "format", "needs calibration", "environment", "supported engines", "what it does")
    rows = []
    for method in known.values() if name is None else [known[name]]:
        defaults = method.defaults
        row = (
            method.name,
            method.scheme(defaults).label if defaults is not None else "as found",
            method.format(defaults) if defaults is not None else "as found",
            "yes" if method.needs_calibration(defaults or {}) else "no",
            method.environment,
            ", ".join(readers(method)),
            method.summary,
        )
        rows.append(row)
    _print_rows(columns, rows, alone=name is not None)
    if name is not None:
        _print_parameters(known[name].parameters)


@app.command(name="engines")
def list_engines(
    name: Annotated[str | None, typer.Argument(help="Show this engine alone, with its options.")] = None,
) -> None:
    """List the engines and what each can do, or one with its options."""
    from engines.registry import engines_by_name, formats_of, registered_engines
    from flows.plan.source import suggestion
    from quant.plugins import reason_for
    from quant.registry import known_formats

    known = engines_by_name()
    if name is not None and name not in known:
        reason = reason_for(name, registered_engines()[1])
        errors.print(
            f"error: unknown engine '{name}'{reason}; {suggestion(name, list(known))}", markup=False, highlight=False
        )
        raise typer.Exit(2)
    formats = known_formats()
    columns, rows = ("engine", "what it is", "loads", "environments", "log-probabilities by", "tokens so far by"), []
    for engine in known.values() if name is None else [known[name]]:
        built = [f"{kind}: {environment}{_state(environment)}" for kind, environment in engine.environments.items()]
        loads, dialect = ", ".join(formats_of(engine, formats)), engine.dialect
        row = (
            engine.name,
            engine.summary,
            loads,
            "\n".join(built) or "attached by its address",
            dialect.prompt_logprobs,
            dialect.chunk_tokens,
        )
        rows.append(row)
    _print_rows(columns, rows, alone=name is not None)
    if name is not None:
        _print_parameters(known[name].options)


def _state(environment: str) -> str:
    """Whether an environment is there now, in brackets."""
    from engines.runtime.environments import PROGRAMS, EnvironmentFailed, is_built, resolve

    try:
        there = is_built(resolve(environment))
    except EnvironmentFailed:
        return f" (no {PROGRAMS[environment]} here)"
    return " (built)" if there and environment not in PROGRAMS else " (found)" if there else ""


def _print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]], *, alone: bool) -> None:
    """A table; of one thing `alone` its facts below each other."""
    if not alone:
        table = Table(*columns)
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)
        return
    for column, text in zip(columns, rows[0], strict=True):
        console.print(f"{column}: {', '.join(text.splitlines())}", markup=False, highlight=False)


def _print_parameters(parameters: Any) -> None:
    if not parameters:
        console.print("no parameters")
        return
    described = any(parameter.sentence for parameter in parameters)
    table = Table("parameter", "what it may be", "default", *(("the tool's own", "what it is") if described else ()))
    for parameter in parameters:
        default = "required" if parameter.required else str(parameter.default)
        words = (parameter.tools_own or "–", parameter.sentence) if described else ()
        table.add_row(parameter.name, _allowed(parameter.annotation), default, *map(escape, words))
    console.print(table)


def _allowed(annotation: Any) -> str:
    """A parameter's type in words: `float, 0 to 1`, `W4A16 or W8A16`."""
    from quant.types import Range

    if get_origin(annotation) is Literal:
        return " or ".join(map(str, get_args(annotation)))
    if get_origin(annotation) is Annotated:
        base, *extra = get_args(annotation)
        ranges = [f", {limit.minimum:g} to {limit.maximum:g}" for limit in extra if isinstance(limit, Range)]
        return _allowed(base) + "".join(ranges)
    if get_origin(annotation) in (Union, UnionType):
        parts = [_allowed(part) for part in get_args(annotation) if part is not NoneType]
        return " or ".join([*parts, "none"])
    return getattr(annotation, "__name__", "") or str(annotation).replace("typing.", "")


@app.command(short_help="Check this machine: device, environments, disk, Prefect.")
def doctor(
    site: Annotated[bool, typer.Option("--site", help="Check this site's settings instead.")] = False,
    runs: Runs = Path("runs"),
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Check device, environments, package sources, Prefect and disk. Prints each problem with its fix.

    --site checks proxies, certificates, terminal, limits, file systems, hub, package index and clock instead, and
    prints only problems.
    """
    from flows.cli.doctor.installation import examine
    from flows.cli.doctor.shown import print_findings
    from flows.cli.doctor.site import examine_site

    findings = examine_site(runs) if site else examine()
    if not findings and not as_json:
        console.print("no problem in this site's settings")
        return
    if as_json:
        print(json_text([finding.as_data for finding in findings]))
    else:
        print_findings(findings, console, verbose=verbose)
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)
