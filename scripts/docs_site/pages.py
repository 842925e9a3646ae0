"""Generated parts of docs/reference: keys of a plan, options of commands, parts of a trial file. Called by cog."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from engines.runtime.own_packages import ROOT
from scripts.plan_schema import plan_schema

TRIAL_SCHEMA = ROOT / "reports" / "output" / "trial.schema.json"


def keys_of_plans() -> str:
    """A table of the keys of each part of a plan."""
    schema = plan_schema()
    lines = [*_table(schema)]
    for name, part in schema["$defs"].items():
        keys = part["anyOf"][-1] if "anyOf" in part and "properties" not in part else part
        places = ", ".join(_uses(schema, name))
        lines += ["", f"## `{name}`", "", f"In {places}. {' '.join(keys['description'].split())}", "", *_table(keys)]
    return "\n".join(lines)


def _uses(schema: Mapping[str, Any], name: str) -> Iterator[str]:
    """Where in a plan a part stands."""
    parts = {"": schema, **schema["$defs"]}
    for owner, part in parts.items():
        keys = part["anyOf"][-1] if "anyOf" in part and "properties" not in part else part
        for key, value in keys["properties"].items():
            if f'"#/$defs/{name}"' in json.dumps(value):
                yield f"`{key}`" + (f" of [`{owner}`](#{owner.lower()})" if owner else "")


def _table(part: Mapping[str, Any]) -> Iterator[str]:
    required = set(part.get("required", ()))
    for either in part.get("anyOf", ()):
        required |= set(either.get("required", ())) if "workload" not in either.get("required", ()) else set()
    yield "| key | what it may be | default | what it means |"
    yield "|---|---|---|---|"
    for key, value in part["properties"].items():
        default = "required" if key in required else _default(value.get("default"))
        yield f"| `{key}` | {_values(value)} | {default} | {value['description']} |"


def _default(value: Any) -> str:
    """A default as a plan or a command line has it; empty for none and for parts, whose keys have their own."""
    if value is None or value is False or isinstance(value, dict | list | tuple):
        return "" if value is not False else "`false`"
    return f"`{value}`" if isinstance(value, str | Path) else f"`{json.dumps(value)}`"


def _values(value: Mapping[str, Any]) -> str:
    """What a key takes, in words."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[`{name}`](#{name.lower()})"
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{choice}`" for choice in value["enum"])
    if choices := value.get("anyOf") or value.get("oneOf"):
        shown = [_values(choice) for choice in choices if choice != {"type": "null"}]
        return shown[0] + " or another" if shown[1:] == ["text"] else " or ".join(shown)
    if value.get("type") == "array":
        return f"list of {_values(value['items'])}"
    if value.get("type") in ("integer", "number"):
        return f"{'whole number' if value['type'] == 'integer' else 'number'}{_range(value)}"
    if value.get("type") == "object":
        inner = value.get("additionalProperties")
        return f"names, each with {_values(inner)}" if isinstance(inner, dict) else "names with values"
    return "`true`, `false`" if value.get("type") == "boolean" else "text"


def _range(value: Mapping[str, Any]) -> str:
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    parts = [f"{word} {value[name]:g}" for name, word in words.items() if name in value and value[name] < 10**9]
    return f" {' '.join(parts)}" if parts else ""


def parts_of_trials() -> str:
    """What a trial file holds: its keys, and those of each part of it."""
    schema = json.loads(TRIAL_SCHEMA.read_text(encoding="utf-8"))
    lines = [*_types(schema)]
    for name, part in schema["$defs"].items():
        lines += ["", f"## `{name}`", "", " ".join(part["description"].split()), "", *_types(part)]
    return "\n".join(lines)


def _types(part: Mapping[str, Any]) -> Iterator[str]:
    yield "| key | type |"
    yield "|---|---|"
    for key, value in part["properties"].items():
        yield f"| `{key}` | {_type(value)} |"


def _type(value: Mapping[str, Any]) -> str:
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[`{name}`](#{name.lower()})"
    if "enum" in value:
        return ", ".join(f"`{choice}`" for choice in value["enum"])
    if "anyOf" in value:
        return " or ".join(_type(choice) for choice in value["anyOf"])
    items = value.get("items") or value.get("additionalProperties")
    return f"{value.get('type', 'any')}{f' of {_type(items)}' if isinstance(items, dict) else ''}"


def options_of_commands() -> str:
    """Every command with its arguments and options, as `--help` has them."""
    lines: list[str] = []
    for name, command in sorted(command_line().commands.items()):
        lines += [f"## `bitfrontier {name}`", "", " ".join((command.help or "").split()), ""]
        rows = [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
        lines += ["| argument or option | default | what it is |", "|---|---|---|", *rows, ""] if rows else []
    return "\n".join(lines).rstrip()


def command_line() -> Any:
    """The whole command line, as click has it."""
    import flows.cli.__main__  # noqa: F401 (registers all commands)
    from flows.cli.app import app

    return typer.main.get_command(app)


def _row(parameter: Any) -> str:
    is_argument = parameter.param_type_name == "argument"
    words = [parameter.name.upper()] if is_argument else [*parameter.opts, *parameter.secondary_opts]
    shown = ", ".join(f"`{word}`" for word in words)
    default = "required" if parameter.required else _default(parameter.default)
    return f"| {shown} | {default} | {' '.join((getattr(parameter, 'help', '') or '').split())} |"
