"""Wheels come from the indexes that this machine is set to, for the machine that they are for, by their hashes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from engines.runtime.environments import EnvironmentFailed
from engines.runtime.installing.pip_config import BUILT, HASHES, hashed
from flows.bundle.targets import Target, target_of
from flows.bundle.wheels import (
    Distribution,
    _credentials,
    _distribution,
    _download,
    beside_pins,
    environment_pins,
    fetch,
    lines_of,
    resolve,
)
from quant.checkpoints.safetensors import hash_file
from tests.support.package_index import forget_settings, plant_source, plant_wheel, served

ARM = Target("manylinux_2_28_aarch64", "3.12")


@dataclass
class Place:
    """An index, a folder for wheels, and the pins of an environment."""

    folder: Path

    @property
    def wheels(self) -> Path:
        return self.folder / "wheels"

    @property
    def pins(self) -> Path:
        return self.folder / "pins" / "small.txt"

    def pin(self, *pins: str, **hashes: str) -> None:
        self.pins.write_text("".join(f"{pin}\n" for pin in pins))
        known = {pin: hashes[pin.partition("==")[0]] for pin in pins if pin.partition("==")[0] in hashes}
        (self.pins.parent / HASHES).write_text(json.dumps(known))

    def fetched(self, target: Target) -> list[str]:
        distributions, allowed = environment_pins(self.pins, target)
        return [fetch(each, target, self.wheels, lambda _: None, allowed).name for each in distributions]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for folder in ("index", "pins", "wheels"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    forget_settings(monkeypatch, tmp_path)
    with served(tmp_path / "index") as address:
        monkeypatch.setenv("PIP_INDEX_URL", address)
        yield Place(tmp_path)


def test_wheels_for_another_machine_are_fetched(place: Place) -> None:
    for tag in ("cp311-cp311-manylinux_2_17_x86_64", "cp312-cp312-manylinux_2_17_aarch64"):
        sha256 = plant_wheel(place.folder / "index", "small", "1.0", tag, tag=tag)
    place.pin("small==1.0", small=sha256)
    assert place.fetched(ARM) == ["small-1.0-cp312-cp312-manylinux_2_17_aarch64.whl"]
    assert hash_file(place.wheels / "small-1.0-cp312-cp312-manylinux_2_17_aarch64.whl") == sha256


def test_what_has_no_wheel_for_the_machine_is_said(place: Place) -> None:
    plant_wheel(place.folder / "index", "small", "1.0", "", tag="cp311-cp311-manylinux_2_17_x86_64")
    place.pin("small==1.0")
    expected = r"the packages of small for manylinux_2_28_aarch64 and Python 3\.12: uv pip compile failed: .*wheels"
    with pytest.raises(EnvironmentFailed, match=expected):
        place.fetched(ARM)
    with pytest.raises(
        EnvironmentFailed, match=r"small==1 has no wheel for manylinux.* and Python 3\.12, and no source"
    ):
        _distribution({"name": "small", "version": "1"}, ARM, place.folder)


def test_another_file_of_a_pinned_version_is_refused(place: Place) -> None:
    plant_wheel(place.folder / "index", "small", "1.0", "theirs")
    place.pin("small==1.0", small="0" * 64)
    with pytest.raises(EnvironmentFailed, match=r"small-1\.0-py3-none-any\.whl: an index has another file under this"):
        place.fetched(target_of(None, None))
    assert list(place.wheels.iterdir()) == []


def test_a_wheel_that_is_whole_is_not_fetched_again(place: Place) -> None:
    place.pin("small==1.0", small=plant_wheel(place.folder / "index", "small", "1.0", "ours"))
    target = target_of(None, None)
    place.fetched(target)
    (wheel,) = place.wheels.iterdir()
    written = wheel.stat().st_mtime_ns
    place.fetched(target)
    assert wheel.stat().st_mtime_ns == written
    wheel.write_bytes(b"half of it")
    place.fetched(target)
    assert place.fetched(target) == [wheel.name]
    assert wheel.stat().st_mtime_ns != written


def test_a_source_is_built_once_and_its_wheel_is_known_to_environments(place: Place) -> None:
    mark = place.folder / "builds"
    sha256 = plant_source(place.folder / "index", "small", "1.0", mark, builds="py3-none-any")
    place.pin("small==1.0", small=sha256)
    assert place.fetched(ARM) == place.fetched(ARM) == ["small-1.0-py3-none-any.whl"]
    assert mark.read_text().count("built") == 1
    made = hash_file(place.wheels / "small-1.0-py3-none-any.whl")
    assert json.loads((place.wheels / BUILT).read_text()) == {"small==1.0": made}
    constraints = hashed(place.pins, {"find-links": [str(place.wheels)]}, backend=False)
    assert constraints == f"small==1.0 --hash=sha256:{sha256} --hash=sha256:{made}\n"


def test_a_source_that_compiles_is_no_wheel_of_another_machine(place: Place) -> None:
    plant_source(place.folder / "index", "small", "1.0", place.folder / "builds", builds="cp311-cp311-linux_x86_64")
    place.pin("small==1.0")
    expected = (
        r"small==1\.0 has no wheel for manylinux_2_28_aarch64, and one that is built here is for this machine alone"
    )
    with pytest.raises(EnvironmentFailed, match=expected):
        place.fetched(Target("manylinux_2_28_aarch64", f"3.{target_of(None, None).python[2:]}"))
    assert list(place.wheels.iterdir()) == []


def test_what_a_package_needs_beside_the_pins_comes_too(place: Place) -> None:
    plant_wheel(place.folder / "index", "cuda", "13", "its libraries")
    place.pin("small==1.0", small=plant_wheel(place.folder / "index", "small", "1.0", "", ("cuda",)))
    target = target_of(None, None)
    place.fetched(target)
    assert [each.pin for each in beside_pins(place.pins, target, place.wheels)] == ["cuda==13", "small==1.0"]


def test_a_file_that_does_not_come_is_one_line(place: Place) -> None:
    plant_wheel(place.folder / "index", "small", "1.0", "")
    place.pin("small==1.0")
    (distribution,) = resolve(place.pins, target_of(None, None))
    (place.folder / "index" / "small" / distribution.name).unlink()
    expected = r"small-1\.0-py3-none-any\.whl does not come from http://127.*HTTPStatusError.*404.*Run the same command"
    with pytest.raises(EnvironmentFailed, match=expected):
        fetch(distribution, target_of(None, None), place.wheels, lambda _: None)


def test_a_file_s_name_is_never_a_path(place: Place) -> None:
    with pytest.raises(EnvironmentFailed, match=r"'../small\.whl' is no name of a package's file"):
        _download(Distribution("small==1", "../small.whl", "/nowhere", "", 0), place.wheels / "../small.whl", {})


def test_files_of_an_index_get_its_password(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_INDEX", "mine=https://joe:s%20t@packages.test/simple")
    auth = _credentials("https://packages.test/files/small.whl")
    assert auth is not None
    request = next(auth.auth_flow(httpx.Request("GET", "https://packages.test/")))
    assert request.headers["Authorization"] == f"Basic {base64.b64encode(b'joe:s t').decode()}"
    monkeypatch.setenv("NETRC", str(place.folder / "none"))
    assert _credentials("https://other.test/small.whl") is None


def test_requirements_hold_their_hashes(place: Place) -> None:
    sha256 = plant_wheel(place.folder / "index", "small", "1.0+cpu", "")
    (wheel,) = (place.folder / "index" / "small").glob("*.whl")
    assert lines_of([wheel, wheel]) == f"small==1.0+cpu --hash=sha256:{sha256}\n"
