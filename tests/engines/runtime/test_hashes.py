"""Environments are built from files whose hashes are known, whichever index brings them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import engines.runtime.environments as environment_module
import engines.runtime.installing.pip_config
from engines.runtime.environments import EnvironmentFailed, build, is_built, known_environments, resolve
from engines.runtime.installing.pip_config import (
    HASHES,
    OF_BACKENDS,
    PYPI,
    hashed,
    index_variables,
    main_index,
    uv_takes_pytorch_s_index,
)
from tests.support.package_index import plant_source, plant_wheel, served


def _pinned(name: str) -> set[str]:
    lines = (environment_module.PINS_FOLDER / f"{name}.txt").read_text().splitlines()
    return {line.partition(";")[0].strip() for line in lines if "==" in line}


def _held(name: str, *, backend: bool) -> set[str]:
    constraints = hashed(environment_module.PINS_FOLDER / f"{name}.txt", {}, backend=backend)
    assert "://" not in constraints
    assert all(" --hash=sha256:" in line for line in constraints.splitlines())
    return {line.split()[0] for line in constraints.splitlines()}


@pytest.mark.parametrize("name", known_environments())
def test_every_pin_has_hashes_but_what_uv_takes_from_pytorch_s_own_index(name: str) -> None:
    assert _held(name, backend=False) == _pinned(name)
    assert {pin.partition("==")[0] for pin in _pinned(name) - _held(name, backend=True)} <= OF_BACKENDS


@dataclass
class Machine:
    """Two indexes, the main one and one that pip is set to beside it, a folder of wheels, and what was planted."""

    folder: Path
    main: str
    extra: str
    settings: dict[str, list[str]] = field(default_factory=dict)

    @property
    def mark(self) -> Path:
        return self.folder / "their code ran"

    def plant(self, where: str, name: str, version: str, requires: tuple[str, ...] = ()) -> str:
        return plant_wheel(self.folder / where, name, version, where, requires)

    def pin(self, pin: str, *hashes: str) -> None:
        (self.folder / "pins" / "small.txt").write_text(f"{pin}\n")
        (self.folder / "pins" / HASHES).write_text(json.dumps({pin: " ".join(hashes)}))

    def built(self, name: str) -> str:
        """Where the package of the environment came from."""
        build(resolve("small"))
        (module,) = self.folder.glob(f"cache/environments/small-*/lib/python3*/site-packages/{name}/__init__.py")
        return module.read_text()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    for folder in ("cache", "pins", "main", "extra", "wheels"):
        (tmp_path / folder).mkdir()
    (tmp_path / "uv-settings.toml").touch()
    for name in [name for name in os.environ if name.startswith("UV_")]:  # of whoever runs the tests
        monkeypatch.delenv(name)
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "uv-settings.toml"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    for module in (environment_module, engines.runtime.installing.pip_config):
        monkeypatch.setattr(module, "PINS_FOLDER", tmp_path / "pins")
    with ExitStack() as servers:
        main, extra = (servers.enter_context(served(tmp_path / name)) for name in ("main", "extra"))
        made = Machine(tmp_path, main, extra, {"index-url": [main], "extra-index-url": [extra]})
        made.settings["find-links"] = [str(tmp_path / "wheels" / "torch")]
        plant_wheel(tmp_path / "wheels", "torch", "2.13.0+cpu", "wheels")  # so that no backend is asked for
        monkeypatch.setattr(environment_module, "pip_settings", lambda: made.settings)
        yield made


def test_a_higher_local_version_of_an_extra_index_does_not_win(machine: Machine) -> None:
    """Nor does what it depends on run when it is built."""
    plant_source(machine.folder / "extra", "evil", "1", machine.mark)
    machine.plant("extra", "small", "1.0+theirs", ("evil==1",))
    machine.pin("small==1.0", machine.plant("main", "small", "1.0"))
    assert machine.built("small") == "main"
    assert not machine.mark.exists()


def test_without_a_hash_it_does_not_win_either(machine: Machine) -> None:
    machine.plant("extra", "small", "1.0+theirs")
    machine.plant("main", "small", "1.0")
    machine.pin("small==1.0")
    (machine.folder / "pins" / HASHES).write_text("{}")
    assert machine.built("small") == "main"


@pytest.mark.parametrize("version", ["1.0", "1.0+theirs"])
@pytest.mark.parametrize("strategy", ["", "unsafe-best-match"])
def test_another_file_of_a_pinned_version_is_refused(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, version: str, strategy: str
) -> None:
    """The main index lacks it, or this machine's settings ask all indexes for the best version."""
    monkeypatch.setenv("UV_INDEX_STRATEGY", strategy)
    plant_source(machine.folder / "extra", "evil", "1", machine.mark)
    machine.plant("extra", "small", version, ("evil==1",))
    machine.pin("small==1.0", "0" * 64)
    expected = r"failed: Hash mismatch for `small==1\.0.*`: an index has another file .*set UV_NO_VERIFY_HASHES=1 if"
    with pytest.raises(EnvironmentFailed, match=expected):
        build(resolve("small"))
    assert not machine.mark.exists()
    assert not is_built(resolve("small"))


@pytest.mark.parametrize("where", ["", "cache"])
def test_a_uv_file_in_or_above_the_cache_folder_is_not_read(machine: Machine, where: str) -> None:
    """Under /tmp anybody may put one, with an index of his."""
    (machine.folder / where / "uv.toml").write_text("[pip]\nverify-hashes = false\n")
    machine.plant("main", "small", "1.0")
    machine.pin("small==1.0", "0" * 64)
    with pytest.raises(EnvironmentFailed, match="Hash mismatch for `small==1"):
        build(resolve("small"))


def test_a_site_s_own_wheels_are_taken_where_it_says_so(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_NO_VERIFY_HASHES", "1")
    machine.plant("extra", "small", "1.0")
    machine.pin("small==1.0", "0" * 64)
    assert machine.built("small") == "extra"


def test_of_torch_the_wheel_of_a_folder_of_this_machine_is_taken(machine: Machine) -> None:
    machine.plant("extra", "torch", "2.13.0+theirs")
    machine.pin("torch==2.13.0", machine.plant("main", "torch", "2.13.0"))
    assert machine.built("torch") == "wheels"


def test_of_torch_no_other_build_is_taken(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where all indexes are asked for the best version."""
    monkeypatch.setenv("UV_INDEX_STRATEGY", "unsafe-best-match")
    machine.plant("extra", "torch", "2.13.0+theirs")
    machine.pin("torch==2.13.0", machine.plant("main", "torch", "2.13.0"))
    with pytest.raises(EnvironmentFailed, match=r"Hash mismatch for `torch==2\.13\.0\+theirs`"):
        build(resolve("small"))


def test_of_torch_pypi_s_build_is_taken_where_there_is_no_other(machine: Machine) -> None:
    plant_wheel(machine.folder / "wheels", "torch", "2.13.1", "another version")
    machine.pin("torch==2.13.2", machine.plant("main", "torch", "2.13.2"))
    assert machine.built("torch") == "main"


def test_what_a_machine_needs_beside_the_pins_is_a_wheel(machine: Machine) -> None:
    """As CUDA's libraries are, which another build of torch asks for."""
    machine.plant("main", "library", "1")
    machine.pin("small==1.0", machine.plant("main", "small", "1.0", ("library==1",)))
    assert machine.built("library") == "main"


def test_what_a_machine_needs_beside_the_pins_is_not_built(machine: Machine) -> None:
    plant_source(machine.folder / "main", "evil", "1", machine.mark)
    machine.pin("small==1.0", machine.plant("main", "small", "1.0", ("evil==1",)))
    with pytest.raises(EnvironmentFailed, match=r"uv pip install failed: .*evil"):
        build(resolve("small"))
    assert not machine.mark.exists()


def test_no_password_of_an_index_is_on_a_command_line(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other users may read those."""
    commands: list[list[str]] = []
    run = subprocess.run

    def noted(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return run(command, **options)

    for name in ("index-url", "extra-index-url"):
        machine.settings[name] = [address.replace("://", "://me:planted@") for address in machine.settings[name]]
    machine.pin("small==1.0", machine.plant("main", "small", "1.0"))
    monkeypatch.setattr(subprocess, "run", noted)
    assert machine.built("small") == "main"
    assert len(commands) >= 2
    assert "planted" not in str(commands)


def test_the_main_index_is_asked_before_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whichever setting names it; what uv is set to itself counts before pip's settings."""
    for name in ("UV_INDEX_STRATEGY", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    file, extra = tmp_path / "uv.toml", {"extra-index-url": ["https://b.example", "https://c.example"]}
    monkeypatch.setenv("UV_CONFIG_FILE", str(file))
    assert main_index({}) == PYPI
    file.write_text("index = 3")
    assert main_index({}) == PYPI
    file.write_text('[[index]]\nurl = "https://x.example"\n[[index]]\nurl = "https://y.example"\ndefault = true\n')
    assert main_index({}) == "https://y.example"
    assert index_variables(extra)["UV_INDEX"] == "https://y.example https://b.example https://c.example"
    file.write_text('[pip]\nindex-url = "https://z.example"\n')
    assert main_index({}) == "https://z.example"
    given = index_variables({**extra, "index-url": ["https://a.example"]})
    assert given == {
        "UV_DEFAULT_INDEX": "https://a.example",
        "UV_INDEX": "https://a.example https://b.example https://c.example",
        "UV_INDEX_STRATEGY": "unsafe-first-match",
    }
    monkeypatch.setenv("UV_DEFAULT_INDEX", "mine=https://m.example")
    monkeypatch.setenv("UV_INDEX", "https://first.example")
    monkeypatch.setenv("UV_INDEX_STRATEGY", "first-index")
    assert index_variables({**extra, "index-url": ["https://a.example"]}) == {
        "UV_INDEX": "https://first.example https://m.example https://b.example https://c.example",
        "UV_INDEX_STRATEGY": "first-index",
    }


@pytest.mark.parametrize(("text", "takes"), [('[pip]\ntorch-backend = "cpu"', True), ("[pip]", False), ("[", False)])
def test_a_backend_that_uv_is_set_to_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, takes: bool
) -> None:
    """Then a wheel of find-links is none of the files that are asked for by their hashes."""
    monkeypatch.delenv("UV_TORCH_BACKEND", raising=False)
    (tmp_path / "uv.toml").write_text(text)
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "uv.toml"))
    assert uv_takes_pytorch_s_index() == takes
    monkeypatch.setenv("UV_TORCH_BACKEND", "cpu")
    assert uv_takes_pytorch_s_index()
