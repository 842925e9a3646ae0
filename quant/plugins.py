"""Loading what registers methods and engines: the modules of a package of ours, and those behind an entry point group.

One that cannot be loaded costs a warning line; everything else works without it, and a plan that names it is told why.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import logging
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol, TypeVar

from quant.errors import one_line

logger = logging.getLogger(__name__)


class Registered(Protocol):
    """A method or an engine: its name in plans, and the file that defines it."""

    @property
    def name(self) -> str: ...

    @property
    def file(self) -> str: ...


T = TypeVar("T", bound=Registered)


@dataclass(frozen=True)
class Plugin:
    """A module by the name of its file or entry point, which is mostly that of its method or engine, too."""

    name: str
    module: str
    load: Callable[[], Any]

    @property
    def file(self) -> str:
        spec = None
        with contextlib.suppress(Exception):  # its package may be what fails
            spec = importlib.util.find_spec(self.module)
        return spec.origin if spec and spec.origin else f"module {self.module}"


@dataclass(frozen=True)
class Unloaded:
    """A plug-in that cannot be used, and why."""

    name: str
    file: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file} cannot be loaded: {self.reason}"


def load_all(
    package: str, group: str, registered_in: Callable[[Any], Iterable[T]]
) -> tuple[dict[str, T], tuple[Unloaded, ...]]:
    """What is registered in the modules of `package` and behind the entry points of `group`, by name, and the plug-ins
    that cannot be loaded. Of two with one name the first counts.
    """
    by_name: dict[str, T] = {}
    unloaded = []
    for plugin in _plugins(package, group):
        try:
            for entry in registered_in(plugin.load()):
                known = by_name.setdefault(entry.name, entry)
                if known.file != entry.file:
                    unloaded.append(Unloaded(plugin.name, entry.file, f"{known.file} defines '{entry.name}' too"))
        except (Exception, SystemExit) as error:  # whatever a third party's module does, the others work
            unloaded.append(Unloaded(plugin.name, plugin.file, one_line(error)))
    for problem in unloaded:
        logger.warning("Warning: %s", problem)
    return by_name, tuple(unloaded)


def reason_for(name: str, unloaded: Sequence[Unloaded]) -> str:
    """What a plan that names an unknown method or engine is told of plug-ins: why that of its name cannot be loaded, or
    all that cannot, since a file may define another name; "" where all could be.
    """
    named = [plugin for plugin in unloaded if plugin.name == name]
    return "".join(f"; {plugin}" for plugin in named or unloaded)


def _plugins(package: str, group: str) -> Iterator[Plugin]:
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        module = f"{package}.{info.name}"
        yield Plugin(info.name, module, lambda module=module: importlib.import_module(module))  # type: ignore[misc]
    for point in entry_points(group=group):
        yield Plugin(point.name, point.module, lambda point=point: _module(point.load()))  # type: ignore[misc]


def _module(target: Any) -> Any:
    """What an entry point may name: a module, or a function in one."""
    return target if inspect.ismodule(target) else sys.modules[target.__module__]
