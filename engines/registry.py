"""Finding engines: a function with the `@engine` decorator in `engines/servers/` or behind the entry point group
`bitfrontier.engines`. The same contract as `quant.registry`, for servers.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from engines.batching import batched_by_option
from engines.types import Device, Dialect, Launch, Serving, asked_dtype
from quant.errors import program
from quant.plugins import Unloaded, load_all
from quant.registry import Method, MethodError, Parameter
from quant.types import Architecture, Scheme

ENTRY_POINT_GROUP = "bitfrontier.engines"
ENGINES_PACKAGE = "engines.servers"
Unsupported = Callable[[Scheme, str, Device, Mapping[str, Any]], str | None]
UnsupportedModel = Callable[[Architecture, Scheme, str, Device, Mapping[str, Any]], str | None]
Refused = Callable[[Mapping[str, Any], Device], str | None]
Probe = Callable[[str, Mapping[str, str], Dialect], tuple[Dialect, str]]
Prepare = Callable[[str, Serving, Dialect], Mapping[str, str | int | float]]
ComputesIn = Callable[[Scheme, Device, Mapping[str, Any]], str]
Batches = Callable[[Mapping[str, Any], Device], int | None]
ReadFacts = Callable[[str], Mapping[str, str | int | float]]


def by_option(scheme: Scheme, device: Device, options: Mapping[str, Any]) -> str:
    """The type that the option `dtype` asks for; empty for an engine without it, which computes alike everywhere."""
    return asked_dtype(options["dtype"], device) if "dtype" in options else ""


@dataclass(frozen=True)
class Engine:
    """A registered engine.

    `unsupported(scheme, checkpoint_format, device, options)` gives the reason why a pair cannot work, or None;
    `unsupported_model(architecture, scheme, checkpoint_format, device, options)` why it cannot serve a model;
    `refused(options, device)` why its options cannot, or would have no effect. `probe(url, headers, dialect)` asks
    a server that is attached to what it can do (the dialect, and the same in words); an engine without environments
    starts none. `prepare(url, serving, dialect)` is what one that was started still needs, and gives facts about
    it. `computes_in(scheme, device, options)` is the type it is asked to compute in: "auto" is the checkpoint's own.
    `batches(options, device)` is how many requests it computes at once, None where that is not known. `emulates`:
    quantized weights are dequantized when they are loaded, so that its cells show a method's accuracy and no speed.
    """

    name: str
    environments: Mapping[str, str]
    dialect: Dialect
    launch: Callable[..., Launch]
    unsupported: Unsupported
    read_facts: ReadFacts
    options: tuple[Parameter, ...]
    refused: Refused = lambda options, device: None
    probe: Probe | None = None
    format_environments: Mapping[str, str] = field(default_factory=dict)
    prepare: Prepare | None = None
    version: int = 1
    computes_in: ComputesIn = by_option
    batches: Batches = batched_by_option
    unsupported_model: UnsupportedModel = lambda *asked: None
    emulates: bool = False

    @property
    def summary(self) -> str:
        return (inspect.getdoc(self.launch) or "").splitlines()[0]

    @property
    def file(self) -> str:
        return inspect.getfile(self.launch)

    def __reduce__(self) -> tuple[Callable[[str], Engine], tuple[str]]:
        """Pickle the name: another process of ours finds the engine in its own registry."""
        return named_engine, (self.name,)


def engine(
    name: str,
    *,
    environments: Mapping[str, str],
    dialect: Dialect,
    unsupported: Unsupported,
    read_facts: ReadFacts = lambda _: {},
    refused: Refused = lambda options, device: None,
    probe: Probe | None = None,
    format_environments: Mapping[str, str] | None = None,
    prepare: Prepare | None = None,
    version: int = 1,
    computes_in: ComputesIn = by_option,
    batches: Batches = batched_by_option,
    unsupported_model: UnsupportedModel = lambda *asked: None,
    emulates: bool = False,
) -> Callable[[Callable[..., Launch]], Callable[..., Launch]]:
    """Register `function(serving: Serving, *, options…) -> Launch` as an engine.

    `environments` names the environment per kind of device; a kind that is missing is not supported.
    `format_environments` names another one for formats whose readers do not fit in there.
    `unsupported_model` says which architectures it cannot serve.
    `read_facts` reads what the engine says of itself from its log; `refused` says why options cannot work together.
    `version` is part of the key of all that is measured in it: raise it when the same options start another server.
    """

    def register(function: Callable[..., Launch]) -> Callable[..., Launch]:
        where = f"{inspect.getfile(function)}: engine '{name}'"
        arguments = list(inspect.signature(function).parameters.values())
        if [a.name for a in arguments if a.kind is not inspect.Parameter.KEYWORD_ONLY] != ["serving"]:
            raise MethodError(f"{where} must take (serving), then * and its options")
        if not inspect.getdoc(function):
            raise MethodError(f"{where} has no docstring; its first line is what `bitfrontier engines` prints")
        hints = typing.get_type_hints(function, include_extras=True)
        untyped = [a.name for a in arguments if a.name not in hints]
        if untyped:
            raise MethodError(f"{where}: option '{untyped[0]}' needs a type")
        options = tuple(
            Parameter(a.name, hints[a.name], None if a.default is a.empty else a.default, a.default is a.empty)
            for a in arguments[1:]
        )
        made = Engine(
            name,
            environments,
            dialect,
            function,
            unsupported,
            read_facts,
            options,
            refused,
            probe,
            format_environments or {},
            prepare,
            version,
            computes_in,
            batches,
            unsupported_model,
            emulates,
        )
        function.__engine__ = made  # type: ignore[attr-defined]
        return function

    return register


def engines_by_name() -> Mapping[str, Engine]:
    """Every known engine by name."""
    return registered_engines()[0]


def named_engine(name: str) -> Engine:
    """The engine of a name. Raises MethodError where there is none (any more)."""
    if name not in engines_by_name():
        raise MethodError(f"engine '{name}' is not installed here; `{program()} engines` lists what is")
    return engines_by_name()[name]


@cache
def registered_engines() -> tuple[Mapping[str, Engine], tuple[Unloaded, ...]]:
    """Every known engine by name, and the plug-ins that cannot be loaded."""
    return load_all(ENGINES_PACKAGE, ENTRY_POINT_GROUP, engines_in)


def engines_in(module: object) -> list[Engine]:
    """The engines that are defined in a module (not those it imports)."""
    marked = [getattr(value, "__engine__", None) for value in vars(module).values()]
    name = getattr(module, "__name__", "")
    return [engine for engine in marked if engine is not None and engine.launch.__module__ == name]


def reads(registered: Engine, scheme: Scheme, checkpoint_format: str) -> bool:
    """Whether the engine loads this on any of its devices; what is attached to may run anywhere."""
    kinds = list(registered.environments) or ["cpu"]
    devices = [Device("cuda" if kind == "cuda" else "cpu", kind, frozenset({"avx512f"}), 0) for kind in kinds]
    given = {option.name: option.default for option in registered.options}
    return any(registered.unsupported(scheme, checkpoint_format, device, given) is None for device in devices)


def readers(method: Method) -> list[str]:
    """The engines that load what `method` writes with its own parameters. Empty where it depends on them."""
    if method.defaults is None:
        return []
    scheme, checkpoint_format = method.scheme(method.defaults), method.format(method.defaults)
    return [
        name
        for name, registered in engines_by_name().items()
        if registered.environments and reads(registered, scheme, checkpoint_format)
    ]


def formats_of(registered: Engine, formats: Sequence[str]) -> list[str]:
    """Those of `formats` that the engine loads in some numbers; others may still not work."""
    tried = (Scheme("float16", "float16"), Scheme("int4", group_size=64), Scheme("fp8", "fp8", static_activations=True))
    return [name for name in formats if any(reads(registered, scheme, name) for scheme in tried)]
