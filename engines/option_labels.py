"""What tells the servers of one engine apart: the options in which they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def option_labels(servers: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Of each (engine, options) its part of a name, such as "tensor_parallel 2"; empty where its engine has the same
    options everywhere. An option that another one does not know tells nothing apart, nor does a type that is left to
    the engine.
    """
    labels = []
    for engine, options in servers:
        others = [other for name, other in servers if name == engine]
        differing = [
            name
            for name, value in options.items()
            if any(other.get(name, value) != value for other in others) and (name, value) != ("dtype", "auto")
        ]
        labels.append(", ".join(f"{name} {options[name]}" for name in differing))
    return labels
