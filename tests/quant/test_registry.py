from __future__ import annotations

from pathlib import Path

import pytest

from quant.registry import MethodError, method, methods


def test_the_six_methods_are_found() -> None:
    assert set(methods()) >= {"none", "rtn", "smoothquant", "awq", "gptq", "fp8"}


def test_parameters_come_from_the_signature() -> None:
    by_name = {parameter.name: parameter for parameter in methods()["gptq"].parameters}
    assert by_name["scheme"].default == "W4A16"
    assert by_name["group_size"].annotation is int
    assert not by_name["scheme"].required


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


def test_one_name_in_two_files_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys
    from types import SimpleNamespace

    import quant.registry

    source = Path(methods()["none"].file).read_text()
    (tmp_path / "a_second_none.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    import a_second_none  # type: ignore[import-not-found]

    point = SimpleNamespace(load=lambda: a_second_none.none)
    monkeypatch.setattr(quant.registry, "entry_points", lambda group: [point])
    methods.cache_clear()
    try:
        with pytest.raises(MethodError, match=r"method 'none' is defined in .*none\.py and in .*a_second_none\.py"):
            methods()
    finally:
        methods.cache_clear()
        sys.modules.pop("a_second_none")


def test_a_third_partys_method_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys
    from types import SimpleNamespace

    import quant.registry

    source = Path(methods()["none"].file).read_text().replace('"none"', '"theirs"')
    (tmp_path / "their_method.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    import their_method  # type: ignore[import-not-found]

    monkeypatch.setattr(quant.registry, "entry_points", lambda group: [SimpleNamespace(load=lambda: their_method)])
    methods.cache_clear()
    try:
        assert methods()["theirs"].file.endswith("their_method.py")
    finally:
        methods.cache_clear()
        sys.modules.pop("their_method")
