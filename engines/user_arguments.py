"""Arguments and variables of the user's for a server, beside what its engine sets: for what has no option here.

They stand among an engine's options, under these two names and only where they are given, so that keys, names and
results have them as they have any option.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from engines.types import Launch

ARGUMENTS, ENV = "arguments", "env"


def with_users(options: Mapping[str, Any], arguments: Sequence[str], env: Mapping[str, str]) -> dict[str, Any]:
    """The options with what the user adds."""
    return {**options, **({ARGUMENTS: list(arguments)} if arguments else {}), **({ENV: dict(env)} if env else {})}


def own_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those that the engine's function takes."""
    return {name: value for name, value in options.items() if name not in (ARGUMENTS, ENV)}


def extended(launch: Launch, options: Mapping[str, Any]) -> Launch:
    """The launch with the user's arguments behind its own, and the user's variables beside its own."""
    command = (*launch.command, *options.get(ARGUMENTS, ()))
    return replace(launch, command=command, environment={**launch.environment, **options.get(ENV, {})})


def clashes(launch: Launch, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(`arguments` or `env`, name) of what the launch sets: of two values of a flag nobody knows which counts."""
    ours = {word.partition("=")[0] for word in launch.command if word.startswith("-")}
    for word in options.get(ARGUMENTS, ()):
        flag = word.partition("=")[0]
        if word.startswith("-") and not {flag, flag.replace("--no-", "--"), flag.replace("--", "--no-")}.isdisjoint(
            ours
        ):
            yield ARGUMENTS, flag
    for name in options.get(ENV, {}):
        if name in launch.environment:
            yield ENV, name
