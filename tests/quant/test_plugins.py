from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import engines.registry
import engines.servers
import quant.methods
import quant.registry
from engines.registry import engines_by_name, registered_engines
from quant.plugins import Unloaded, reason_for
from quant.registry import methods, registered_methods
from tests.support.plugins import install_plugin

FAULTY = {
    "raises": ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
    "lacks": ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
    "ends": ("import sys\nsys.exit('wrong machine')", "SystemExit: wrong machine"),
    "breaks": ("def broken(:\n", "SyntaxError: invalid syntax (theirs.py, line 1)"),
    "loose": (
        "from quant.registry import method\n@method('loose', format='x', environment='y')\ndef loose(model, out): ...",
        "method 'loose' has no docstring; its first line is what `bitfrontier methods` prints",
    ),
}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Registries that are read anew, and again after the test."""
    yield
    for name in ("theirs", "quant.methods.theirs", "engines.servers.theirs"):
        sys.modules.pop(name, None)
    registered_methods.cache_clear()
    registered_engines.cache_clear()


def _reload() -> None:
    registered_methods.cache_clear()
    registered_engines.cache_clear()


def test_all_of_ours_are_loaded() -> None:
    assert registered_methods()[1] == ()
    assert registered_engines()[1] == ()


@pytest.mark.parametrize("fault", FAULTY)
@pytest.mark.parametrize("group", [quant.registry.ENTRY_POINT_GROUP, engines.registry.ENTRY_POINT_GROUP])
def test_a_faulty_entry_point_is_a_warning_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, group: str, fault: str
) -> None:
    ours = set(methods()), set(engines_by_name())
    source, reason = FAULTY[fault]
    file = install_plugin(tmp_path, group, "theirs", source)
    monkeypatch.syspath_prepend(str(tmp_path))
    _reload()
    with caplog.at_level(logging.WARNING):
        assert (set(methods()), set(engines_by_name())) == ours
    (problem,) = registered_methods()[1] + registered_engines()[1]
    assert (problem.name, problem.file) == ("theirs", str(file))
    assert reason in problem.reason
    assert [record.getMessage() for record in caplog.records] == [f"Warning: {problem}"]
    assert "\n" not in str(problem)


@pytest.mark.parametrize("package", [quant.methods, engines.servers])
def test_a_file_that_is_no_python_is_a_warning_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: object
) -> None:
    ours = set(methods()), set(engines_by_name())
    (tmp_path / "theirs.py").write_text("def broken(:\n")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])  # type: ignore[attr-defined]
    _reload()
    assert (set(methods()), set(engines_by_name())) == ours
    (problem,) = registered_methods()[1] + registered_engines()[1]
    assert problem == Unloaded("theirs", str(tmp_path / "theirs.py"), FAULTY["breaks"][1])


def test_a_package_that_is_gone_is_named_by_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_plugin(tmp_path, quant.registry.ENTRY_POINT_GROUP, "theirs", "").unlink()
    monkeypatch.syspath_prepend(str(tmp_path))
    _reload()
    (problem,) = registered_methods()[1]
    assert str(problem) == "module theirs cannot be loaded: ModuleNotFoundError: No module named 'theirs'"


def test_of_two_methods_with_one_name_the_first_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Path(methods()["none"].file)
    file = install_plugin(tmp_path, quant.registry.ENTRY_POINT_GROUP, "theirs", ours.read_text())
    monkeypatch.syspath_prepend(str(tmp_path))
    _reload()
    assert methods()["none"].file == str(ours)
    assert registered_methods()[1] == (Unloaded("theirs", str(file), f"{ours} defines 'none' too"),)


def test_of_two_engines_with_one_name_the_first_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Path(engines_by_name()["vllm"].file)
    file = install_plugin(tmp_path, engines.registry.ENTRY_POINT_GROUP, "theirs", ours.read_text())
    monkeypatch.syspath_prepend(str(tmp_path))
    _reload()
    assert engines_by_name()["vllm"].file == str(ours)
    assert registered_engines()[1] == (Unloaded("theirs", str(file), f"{ours} defines 'vllm' too"),)


def test_a_third_partys_method_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(methods()["none"].file).read_text().replace('"none"', '"theirs"')
    file = install_plugin(tmp_path, quant.registry.ENTRY_POINT_GROUP, "theirs", source)
    monkeypatch.syspath_prepend(str(tmp_path))
    _reload()
    assert methods()["theirs"].file == str(file)
    assert registered_methods()[1] == ()


def test_an_unknown_name_is_told_of_what_could_not_be_loaded() -> None:
    mine, other = Unloaded("mine", "a.py", "SyntaxError: x"), Unloaded("other", "b.py", "ImportError: y")
    assert reason_for("mine", [mine, other]) == "; a.py cannot be loaded: SyntaxError: x"
    assert reason_for("third", [mine, other]) == (
        "; a.py cannot be loaded: SyntaxError: x; b.py cannot be loaded: ImportError: y"
    )
    assert reason_for("third", []) == ""
