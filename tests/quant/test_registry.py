from __future__ import annotations

import pickle
from pathlib import Path
from typing import get_args

import pytest

import quant.registry
from quant.registry import MethodError, method, methods
from quant.types import Range


def test_the_six_methods_are_found() -> None:
    assert set(methods()) >= {"none", "rtn", "smoothquant", "awq", "gptq", "fp8"}


def test_parameters_come_from_the_signature() -> None:
    by_name = {parameter.name: parameter for parameter in methods()["gptq"].parameters}
    assert by_name["scheme"].default == "W4A16"
    assert get_args(by_name["group_size"].annotation) == (int, Range(0, 65536))
    assert not by_name["scheme"].required


def test_a_docstring_says_what_a_parameter_is_and_what_its_tool_takes() -> None:
    @method("m", format="f", environment="e")
    def m(model: Path, out: Path, *, size: int = 1, other: int = 2, silent: int = 3) -> None:
        """What it does.

        Args:
            size: how many weights
                share a scale. Tool's own: 0.5.
            other: something else.
        """

    size, other, silent = m.__method__.parameters  # type: ignore[attr-defined]
    assert (size.sentence, size.tools_own) == ("how many weights share a scale.", "0.5")
    assert (other.sentence, other.tools_own) == ("something else.", "")
    assert (silent.sentence, silent.tools_own) == ("", "")


def test_a_method_without_docstring_is_refused() -> None:
    def bare(model: Path, out: Path) -> None: ...

    with pytest.raises(MethodError, match="method 'bare' has no docstring"):
        method("bare", format="safetensors", environment="transformers")(bare)


def test_a_method_with_other_arguments_is_refused() -> None:
    def odd(source: Path, out: Path) -> None:
        """Odd."""

    with pytest.raises(MethodError, match=r"must take \(model, out\)"):
        method("odd", format="safetensors", environment="transformers")(odd)


def test_a_parameter_without_type_is_refused() -> None:
    def loose(model: Path, out: Path, *, bits=4) -> None:  # type: ignore[no-untyped-def]
        """Loose."""

    with pytest.raises(MethodError, match="parameter 'bits' needs a type"):
        method("loose", format="safetensors", environment="transformers")(loose)


def test_another_process_finds_it_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    name, known = next(iter(quant.registry.methods().items()))
    crossing = pickle.dumps(known)
    assert pickle.loads(crossing) is known
    monkeypatch.setattr(quant.registry, "methods", dict)
    with pytest.raises(
        MethodError, match=f"^method '{name}' is not installed here; `bitfrontier methods` lists what is$"
    ):
        pickle.loads(crossing)
