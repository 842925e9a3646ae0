"""Package indexes with made-up packages, among them what somebody may plant beside PyPI."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

BACKEND = """
from pathlib import Path
Path({mark!r}).touch()
def get_requires_for_build_wheel(settings=None): return []
"""


def forget_settings(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Nothing that this machine says of indexes counts, and uv's cache is in `folder`."""
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        patch.delenv(name)
    patch.setenv("PIP_CONFIG_FILE", os.devnull)
    patch.setenv("UV_NO_CONFIG", "1")
    patch.setenv("UV_CACHE_DIR", str(folder / "uv"))
    patch.setenv("NO_PROXY", "127.0.0.1")


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of an index of what is planted in `folder`, on the loopback address."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def plant_wheel(
    folder: Path, name: str, version: str, text: str, requires: Sequence[str] = (), tag: str = "py3-none-any"
) -> str:
    """A wheel with one module, which holds `text`, listed as an index does. Its SHA-256."""
    record = f"{name}-{version}.dist-info"
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    wheel = place / f"{name}-{version}-{tag}.whl"
    needs = "".join(f"Requires-Dist: {other}\n" for other in requires)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}/__init__.py", text)
        archive.writestr(f"{record}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        archive.writestr(f"{record}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{record}/RECORD", "")
    return _list(wheel)


BUILDER = """
import pathlib, zipfile
def build_wheel(place, settings=None, metadata=None):
    name, record = "{name}-{version}-{tag}.whl", "{name}-{version}.dist-info"
    with pathlib.Path({mark!r}).open("a") as log: log.write("built\\n")
    with zipfile.ZipFile(pathlib.Path(place, name), "w") as archive:
        archive.writestr("{name}/__init__.py", "built")
        archive.writestr(record + "/METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
        archive.writestr(record + "/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: {tag}\\n")
        archive.writestr(record + "/RECORD", "")
    return name
"""


def plant_source(folder: Path, name: str, version: str, mark: Path, *, builds: str = "") -> str:
    """A source distribution whose build leaves a mark; with the tags `builds`, it makes a wheel. Its SHA-256."""
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    texts = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": BACKEND.format(mark=str(mark))
        + (BUILDER.format(mark=str(mark), name=name, version=version, tag=builds) if builds else ""),
        "PKG-INFO": f"Metadata-Version: 1.0\nName: {name}\nVersion: {version}\n",
    }
    archive = place / f"{name}-{version}.tar.gz"
    with tarfile.open(archive, "w:gz") as out:
        for file, text in texts.items():
            entry = tarfile.TarInfo(f"{name}-{version}/{file}")
            entry.size = len(text)
            out.addfile(entry, io.BytesIO(text.encode()))
    return _list(archive)


def _list(file: Path) -> str:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with (file.parent / "index.html").open("a", encoding="utf-8") as page:
        page.write(f'<a href="{file.name}#sha256={digest}">{file.name}</a>\n')
    return digest
