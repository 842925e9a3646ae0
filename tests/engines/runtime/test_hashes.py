"""Environments are built from files whose hashes are known, whichever index brings them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import shutil
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import engines.runtime.environments as environment_module
import engines.runtime.pip_config
from engines.runtime.environments import EnvironmentFailed, build, is_built, known_environments, resolve
from engines.runtime.own_packages import ROOT
from engines.runtime.pip_config import HASHES, hashed
from scripts.pins import BUILT_ELSEWHERE


def test_every_pin_has_hashes_but_what_machines_choose_by_their_gpu() -> None:
    for name in known_environments():
        pins = environment_module.PINS_FOLDER / f"{name}.txt"
        lines = {line.partition(";")[0].strip() for line in pins.read_text().splitlines() if "==" in line}
        constraints = hashed(pins)
        assert {line for line in lines if not BUILT_ELSEWHERE.match(line)} == {
            line.split()[0] for line in constraints.splitlines()
        }
        assert "://" not in constraints


@contextlib.contextmanager
def _index(folder: Path) -> Iterator[str]:
    """A package index of one wheel: `packaging` in the version of the pin, or one that sorts above it."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/simple"
    server.shutdown()
    server.server_close()


def _plant_wheel(folder: Path, version: str) -> None:
    wheel = folder / f"packaging-{version}-py3-none-any.whl"
    folder.mkdir(parents=True)
    record = f"packaging-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("packaging/__init__.py", "EVIL = True\n")
        archive.writestr(f"{record}/METADATA", f"Metadata-Version: 2.1\nName: packaging\nVersion: {version}\n")
        archive.writestr(f"{record}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{record}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (folder / "index.html").write_text(f'<a href="{wheel.name}#sha256={digest}">{wheel.name}</a>')


@pytest.mark.parametrize("version", ["26.3", "26.3+theirs"])
def test_another_file_of_a_pinned_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """An index that is set beside PyPI offers it; one with a local label is the better version by its number alone."""
    cache, pins = tmp_path / "cache", tmp_path / "pins"
    cache.mkdir()
    pins.mkdir()
    (pins / "small.txt").write_text("packaging==26.3\n")
    monkeypatch.setenv("BITFRONTIER_CACHE", str(cache))
    for module in (environment_module, engines.runtime.pip_config):
        monkeypatch.setattr(module, "PINS_FOLDER", pins)
    monkeypatch.setattr(environment_module, "pip_settings", lambda: settings)
    monkeypatch.setenv("UV_CACHE_DIR", str(cache / "uv"))
    _plant_wheel(cache / "index" / "simple" / "packaging", version)
    with _index(cache / "index") as url:
        settings = {"extra-index-url": [url]}
        build(resolve("small"))  # without a hash it is what is installed
        (installed,) = cache.glob("environments/small-*/lib/python3*/site-packages/packaging/__init__.py")
        assert installed.read_text() == "EVIL = True\n"
        shutil.rmtree(cache / "environments")
        known = json.loads((ROOT / "configs" / "environments" / HASHES).read_text())
        (pins / HASHES).write_text(json.dumps({"packaging==26.3": known["packaging==26.3"]}))
        with pytest.raises(
            EnvironmentFailed, match=r"failed: Hash mismatch for `packaging==26.3.*`: an index has another"
        ):
            build(resolve("small"))
    assert not is_built(resolve("small"))
