"""Finding methods: a function with the `@method` decorator in `quant/methods/` or behind the entry point group
`bitfrontier.methods` is known to the plan, the worker, the command line and the report without another edit.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from quant.errors import BitfrontierError, program
from quant.plugins import Unloaded, load_all
from quant.types import Architecture, Program, Scheme, Stored

ENTRY_POINT_GROUP = "bitfrontier.methods"
METHODS_PACKAGE = "quant.methods"
SchemeOf = Callable[[Mapping[str, Any]], Scheme]
Unsupported = Callable[[str], str | None]
UnsupportedModel = Callable[[Architecture], str | None]
FormatOf = Callable[[Mapping[str, Any]], str]


class MethodError(BitfrontierError):
    """A method file breaks the contract; the message names the file and the fix."""


@dataclass(frozen=True)
class Parameter:
    """One keyword-only argument of a method, as the plan sees it. `annotation` is the resolved type, `sentence` what it
    is, and `tools_own` what the tool that the method calls takes by itself; both are empty where nothing says so.
    """

    name: str
    annotation: Any
    default: Any
    required: bool
    sentence: str = ""
    tools_own: str = ""

    @property
    def stored(self) -> bool:
        """True for the name of a checkpoint that is there already."""
        return any(isinstance(arg, Stored) for arg in typing.get_args(self.annotation)[1:])

    @property
    def program(self) -> bool:
        """True for the name of a program that is started."""
        return any(isinstance(arg, Program) for arg in typing.get_args(self.annotation)[1:])


@dataclass(frozen=True)
class Method:
    """A registered method. `format`, `scheme` and `needs_calibration` are asked with the resolved parameters,
    `unsupported` with the kind of device ("cpu", "cuda"), `unsupported_model` with a model's architecture.
    """

    name: str
    format: FormatOf
    environment: str
    function: Callable[..., None]
    scheme: SchemeOf
    needs_calibration: Callable[[Mapping[str, Any]], bool]
    parameters: tuple[Parameter, ...]
    unsupported: Unsupported = lambda device: None
    unsupported_model: UnsupportedModel = lambda architecture: None
    version: int = 1

    @property
    def summary(self) -> str:
        return (inspect.getdoc(self.function) or "").splitlines()[0]

    @property
    def file(self) -> str:
        return inspect.getfile(self.function)

    def __reduce__(self) -> tuple[Callable[[str], Method], tuple[str]]:
        """Pickle the name: another process of ours finds the method in its own registry."""
        return named_method, (self.name,)

    @property
    def defaults(self) -> dict[str, Any] | None:
        """The parameters without a plan, or None where some must be given."""
        return None if any(p.required for p in self.parameters) else {p.name: p.default for p in self.parameters}


def method(
    name: str,
    *,
    format: str | FormatOf,  # noqa: A002  the decorator reads as a sentence
    environment: str,
    scheme: SchemeOf | None = None,
    calibrated: Callable[[Mapping[str, Any]], bool] | None = None,
    unsupported: Unsupported = lambda device: None,
    unsupported_model: UnsupportedModel = lambda architecture: None,
    version: int = 1,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register `function(model: Path, out: Path, [calibration: Calibration,] *, parameters…)` as a method.

    `format` names the checkpoint format that engines declare support for, or tells it from the parameters;
    `environment` names a file in `configs/environments/` (without .txt). `scheme` gives the numeric format from the
    parameters; without it the weights count as `unknown`. `calibrated` tells from the parameters whether the
    calibration set is used; the default is yes exactly if the function takes a third positional argument.
    `unsupported` says why the tool does not run on a kind of device, or None, `unsupported_model` why it does not
    quantize an architecture. `version` is part of the key of every checkpoint: raise it when the same parameters give
    other weights.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        made = _build(function, name, format, environment, scheme, calibrated)
        made = replace(made, unsupported=unsupported, unsupported_model=unsupported_model, version=version)
        function.__method__ = made  # type: ignore[attr-defined]
        return function

    return register


def _build(
    function: Callable[..., None],
    name: str,
    checkpoint_format: str | FormatOf,
    environment: str,
    scheme: SchemeOf | None,
    calibrated: Callable[[Mapping[str, Any]], bool] | None,
) -> Method:
    where = f"{inspect.getfile(function)}: method '{name}'"
    if not inspect.getdoc(function):
        raise MethodError(f"{where} has no docstring; its first line is what `bitfrontier methods` prints")
    positional = [p.name for p in _arguments(function) if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    if positional not in (["model", "out"], ["model", "out", "calibration"]):
        raise MethodError(f"{where} must take (model, out) or (model, out, calibration), then * and its parameters")
    takes_calibration = len(positional) == 3
    return Method(
        name=name,
        format=(lambda _: checkpoint_format) if isinstance(checkpoint_format, str) else checkpoint_format,
        environment=environment,
        function=function,
        scheme=scheme or (lambda _: Scheme("unknown")),
        needs_calibration=calibrated or (lambda _: takes_calibration),
        parameters=_parameters(function, where),
    )


def _arguments(function: Callable[..., None]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def _parameters(function: Callable[..., None], where: str) -> tuple[Parameter, ...]:
    hints = typing.get_type_hints(function, include_extras=True)
    parameters, sentences = [], _sentences(function)
    for argument in _arguments(function):
        if argument.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        if argument.name not in hints:
            raise MethodError(f"{where}: parameter '{argument.name}' needs a type, such as `{argument.name}: int`")
        required = argument.default is inspect.Parameter.empty
        default, (sentence, own) = None if required else argument.default, sentences.get(argument.name, ("", ""))
        parameters.append(Parameter(argument.name, hints[argument.name], default, required, sentence, own))
    return tuple(parameters)


def _sentences(function: Callable[..., None]) -> dict[str, tuple[str, str]]:
    """What the docstring says of each parameter below `Args:`, and the tool's own default, after `Tool's own:`."""
    _, _, args = (inspect.getdoc(function) or "").partition("\nArgs:\n")
    described = {}
    for name, text in re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", args, re.MULTILINE):
        sentence, _, own = " ".join(text.split()).partition(" Tool's own: ")
        described[name] = sentence, own.removesuffix(".")
    return described


def methods() -> Mapping[str, Method]:
    """Every known method by name."""
    return registered_methods()[0]


def named_method(name: str) -> Method:
    """The method of a name. Raises MethodError where there is none (any more)."""
    if name not in methods():
        raise MethodError(f"method '{name}' is not installed here; `{program()} methods` lists what is")
    return methods()[name]


@cache
def registered_methods() -> tuple[Mapping[str, Method], tuple[Unloaded, ...]]:
    """Every known method by name, and the plug-ins that cannot be loaded."""
    return load_all(METHODS_PACKAGE, ENTRY_POINT_GROUP, methods_in)


def known_formats() -> list[str]:
    """The formats that methods write with the parameters that they have by themselves."""
    return sorted({method.format(method.defaults) for method in methods().values() if method.defaults is not None})


def methods_in(module: object) -> list[Method]:
    """The methods that are defined in a module (not those it imports)."""
    marked = [getattr(value, "__method__", None) for value in vars(module).values() if callable(value)]
    name = getattr(module, "__name__", "")
    return [method for method in marked if method is not None and method.function.__module__ == name]
