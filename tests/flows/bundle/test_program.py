"""bitfrontier itself in a bundle: its wheel, wherever it runs from, and what it needs in the versions that it has."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

import flows.bundle.program as program
from engines.runtime.environments import run_uv
from engines.runtime.own_packages import PACKAGES
from flows.bundle.program import needed_packages, own_wheel
from flows.bundle.targets import target_of
from tests.support.package_index import forget_settings, plant_wheel, served


@dataclass
class Installed:
    """As `importlib.metadata` has it."""

    name: str
    version: str


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    forget_settings(monkeypatch, tmp_path)
    return tmp_path / "index"


def test_what_it_needs_comes_in_the_versions_that_are_here(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("1.0", "2.0"):
        plant_wheel(index, "other", version, "")
        plant_wheel(index, "small", version, "", ("other",))
    monkeypatch.setattr(metadata, "requires", lambda _: ["small", 'big; extra == "more"'])
    here = [Installed("small", "1.0"), Installed("other", "1.0"), Installed("bitfrontier", "0.1.0")]
    monkeypatch.setattr(metadata, "distributions", lambda: here)
    with served(index) as address:
        monkeypatch.setenv("PIP_INDEX_URL", address)
        assert [each.pin for each in needed_packages(target_of(None, None))] == ["other==1.0", "small==1.0"]


def test_an_installed_program_is_packed_as_it_was(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_wheel(index, "small", "1.0", "ours")
    (wheel,) = (index / "small").glob("*.whl")
    run_uv("pip", "install", "--quiet", "--no-index", "--target", str(tmp_path / "installed"), str(wheel))
    monkeypatch.syspath_prepend(tmp_path / "installed")
    monkeypatch.setattr(program, "NAME", "small")
    monkeypatch.setattr(program, "is_installed", lambda _: True)
    again = own_wheel(tmp_path)
    with zipfile.ZipFile(wheel) as before, zipfile.ZipFile(again) as after:
        names = set(before.namelist()) - {"small-1.0.dist-info/RECORD"}
        assert set(after.namelist()) == {*names, "small-1.0.dist-info/RECORD"}
        assert {name: after.read(name) for name in names} == {name: before.read(name) for name in names}
        assert "small/__init__.py,sha256=" in after.read("small-1.0.dist-info/RECORD").decode()
    run_uv("pip", "install", "--quiet", "--no-index", "--target", str(tmp_path / "again"), str(again))
    assert (tmp_path / "again" / "small" / "__init__.py").read_text() == "ours"
    content = again.read_bytes()
    assert own_wheel(tmp_path).read_bytes() == content


def test_a_checkout_is_built(tmp_path: Path) -> None:
    with zipfile.ZipFile(own_wheel(tmp_path)) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names if "dist-info" not in name} == {*PACKAGES}
    assert "configs/environments/hashes.json" in names
