from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

import engines.runtime.environments as environment_module
import engines.runtime.installing.pythons as pythons
from engines.runtime.environments import EnvironmentFailed, build, resolve
from engines.runtime.installing.pip_config import PINS_FOLDER
from engines.runtime.installing.pythons import (
    OWN,
    REQUIRES,
    TRIED,
    Python,
    minor_for,
    python_fault,
    python_for,
    python_note,
)

ABSENT = ">=3.14,<3.15" if OWN != "3.14" else ">=3.12,<3.13"  # a Python that a fake uv below does not find


@pytest.fixture(autouse=True)
def own_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    for module in (pythons, environment_module):
        monkeypatch.setattr(module, "PINS_FOLDER", tmp_path)
    for variable in pythons.FORBIDDING:
        monkeypatch.delenv(variable, raising=False)
    pythons._another.cache_clear()
    (tmp_path / "small.txt").write_text("packaging==26.3\n")
    return tmp_path


def wants(folder: Path, specifier: str) -> None:
    (folder / "small.in").write_text(f"# a small one\n# requires-python: {specifier}\npackaging\n")


def test_each_environment_s_own_words_are_specifiers_that_some_python_of_ours_fulfils() -> None:
    restricted = {}
    for source in PINS_FOLDER.glob("*.in"):
        if match := REQUIRES.search(source.read_text()):
            restricted[source.stem] = [version for version in TRIED if version in SpecifierSet(match[1])]
        else:
            assert "requires-python" not in source.read_text(), source
    assert {"vllm-cuda", "triton", "gptqmodel"} <= set(restricted) <= {pins.stem for pins in PINS_FOLDER.glob("*.txt")}
    assert all(0 < len(versions) < len(TRIED) for versions in restricted.values())


def test_this_program_s_python_is_taken_where_the_pins_take_it(own_pins: Path) -> None:
    assert python_for(own_pins / "small.txt") == Python(sys.executable, OWN)
    wants(own_pins, ">=3.11")
    assert python_for(own_pins / "small.txt") == Python(sys.executable, OWN)
    assert python_fault("small") == python_note("small") == ""


def test_else_the_newest_that_is_here_and_taken(own_pins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"3.11": "/opt/eleven", "3.12": "/opt/twelve", "3.13": "/opt/thirteen"}
    monkeypatch.setattr(pythons, "OWN", "3.14")
    monkeypatch.setattr(pythons, "_installed", lambda version: here.get(version, ""))
    wants(own_pins, ">=3.11,<3.13")
    assert python_for(own_pins / "small.txt") == Python("/opt/twelve", "3.12", ">=3.11,<3.13")
    assert python_fault("small") == python_note("small") == ""


def test_another_python_is_another_environment(own_pins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = resolve("small").identity
    monkeypatch.setattr(pythons, "OWN", "3.10")
    monkeypatch.setattr(pythons, "_installed", lambda version: f"/opt/{version}")
    wants(own_pins, "<3.15,>=3.11")
    assert python_for(own_pins / "small.txt").asked == "/opt/3.14"
    assert (resolve("small").identity == ours) is (OWN == "3.14")


@pytest.mark.parametrize(("variable", "value"), [("UV_PYTHON_DOWNLOADS", "never"), ("UV_OFFLINE", "1")])
def test_where_none_is_here_it_is_said_before_any_work(
    own_pins: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setattr(pythons, "_installed", lambda version: "")
    wants(own_pins, ABSENT)
    version = next(version for version in TRIED if version in SpecifierSet(ABSENT))
    assert python_note("small") == (
        f"environment 'small' takes Python {ABSENT}, none is here: uv fetches {version} when it is built"
    )
    assert python_fault("small") == ""
    monkeypatch.setenv(variable, value)
    assert python_note("small") == ""
    assert python_fault("small") == (
        f"environment 'small' takes Python {ABSENT}, none is here, and {variable}={value} forbids uv to fetch it. "
        f"Install Python {version}, or unset the variable"
    )


def test_a_build_without_its_python_fails_in_words(own_pins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pythons, "_installed", lambda version: "")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    monkeypatch.setenv("PATH", os.devnull)
    wants(own_pins, ABSENT)
    with pytest.raises(EnvironmentFailed, match=r"uv venv --quiet failed: .*Python downloads are set to 'never'"):
        build(resolve("small"))


def test_uv_is_asked_which_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{sys.base_prefix}/bin:{os.environ['PATH']}")  # before a shim that starts another
    assert Path(pythons._installed(OWN)).is_file()
    assert pythons._installed("3.2") == ""


def test_they_are_found_where_the_home_is_read_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """uv, which begins with its cache, would find none."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("PATH", f"{sys.base_prefix}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # no folder can be made in it
    monkeypatch.delenv("UV_CACHE_DIR", raising=False)
    monkeypatch.setattr(os, "access", lambda folder, mode: mode == os.F_OK)
    assert Path(pythons._installed(OWN)).is_file()


@pytest.mark.parametrize(("own", "minor"), [("3.11", "3.12"), ("3.12", "3.12"), ("3.14", "3.12")])
def test_the_python_of_pins_on_another_machine(tmp_path: Path, own: str, minor: str) -> None:
    pins = tmp_path / "small.txt"
    pins.touch()
    assert minor_for(pins, own) == own
    pins.with_suffix(".in").write_text("# requires-python: ==3.12.*\nsmall\n")
    assert minor_for(pins, own) == minor
