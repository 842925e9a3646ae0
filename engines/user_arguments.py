"""Arguments and variables of the user's for a server, beside what its engine sets: for what has no option here.

They stand among an engine's options, under these two names and only where they are given, so that keys, names and
results have them as they have any option.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from engines.redaction import SECRET_VARIABLE
from engines.types import Launch

ARGUMENTS, ENV = "arguments", "env"
# programs of ours, whose arguments are what the engine's options are; but SGLang's hands all of them on
OWN_LAUNCHER = re.compile(r"engines\.launchers\.(?!sglang_server)\w+")
RESERVED = frozenset({"CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "HOME", "PATH", "PYTHONHOME", "PYTHONPATH"})
READ_BY_CLIENTS = re.compile(r"(LD|DOCKER|CONTAINER|XDG|SSL_CERT|LC)_|LANG|(HTTP|HTTPS|ALL|NO)_PROXY", re.IGNORECASE)
SHORT_FLAG = re.compile(r"-[A-Za-z].*")


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


def refusals(launch: Launch, options: Mapping[str, Any], *, in_image: bool = False) -> Iterator[tuple[str, str]]:
    """(`arguments` or `env`, why) of what cannot be added: of two values of a flag nobody knows which counts, and some
    variables decide where a server runs, or would be read by others than the server.
    """
    given = options.get(ARGUMENTS, ())
    if given and (launcher := next(filter(OWN_LAUNCHER.fullmatch, launch.command), None)):
        yield ARGUMENTS, f"{launcher} takes no other arguments than its options"
        return
    ours = {_long(word) for word in launch.command if word.startswith("-")}
    for word in given:
        if SHORT_FLAG.fullmatch(word):
            yield ARGUMENTS, f"{word} is a short name: write the long one, which is compared with what is set here"
        elif word.startswith("--") and _long(word) in ours:
            yield ARGUMENTS, f"{word.partition('=')[0]} is set by bitfrontier"
    for name in options.get(ENV, {}):
        if name in launch.environment or name in RESERVED:
            yield ENV, f"{name} is set by bitfrontier"
        elif SECRET_VARIABLE.search(name):
            yield ENV, f"{name} would stand in keys, names and results with its value"
        elif in_image and READ_BY_CLIENTS.match(name):
            yield ENV, f"{name} would be read by the container's client too: set it in the image"


def _long(word: str) -> str:
    """A flag without its value, `no-`, and underscores, which command lines take for hyphens."""
    return word.partition("=")[0].replace("_", "-").replace("--no-", "--")
