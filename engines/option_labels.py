"""What tells the servers of one engine apart: the options in which they differ."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from engines.user_arguments import ARGUMENTS, ENV

UNUSED: Mapping[str, Any] = {ARGUMENTS: [], ENV: {}}


def option_labels(servers: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Of each (engine, options) its part of a name, such as "tensor_parallel 2"; empty where its engine has the same
    options everywhere. An option that another one does not know tells nothing apart, but for what a user adds; nor does
    a type that is left to the engine.
    """
    labels = []
    for engine, options in servers:
        others = [other for name, other in servers if name == engine]
        differing = [
            name
            for name, value in options.items()
            if any(other.get(name, UNUSED.get(name, value)) != value for other in others)
            and (name, value) != ("dtype", "auto")
        ]
        labels.append(", ".join(f"{name} {_text(options[name])}" for name in differing))
    return labels


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{name}={shlex.quote(text)}" for name, text in value.items())
    return shlex.join(value) if isinstance(value, list) else str(value)
