"""Wheels for another machine: resolved by uv for its platform and Python, fetched, held to their hashes.

uv downloads no wheels, and pip needs the tags of a platform one by one, each glibc apart. So uv says which files it
would install there (a `pylock.toml`, PEP 751), by the same indexes and rules as `engines.runtime.environments.build`,
and they are fetched here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
from packaging.utils import parse_wheel_filename

from engines.addresses import without_credentials
from engines.runtime.environments import ANOTHER_FILE, EnvironmentFailed, run_uv
from engines.runtime.installing.pip_config import (
    BUILT,
    INDEX_NAME,
    adjustment_arguments,
    hashed,
    index_variables,
    pip_settings,
    torch_backend,
    uv_takes_pytorch_s_index,
    wheel_places,
)
from flows.bundle.targets import Target
from quant.canonical_json import open_regular, read_note, whole_file, write_json
from quant.checkpoints.safetensors import hash_file
from quant.errors import one_line

ANSWER_SECONDS = 60.0
CHUNK_BYTES = 1 << 20
UV_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL")
RUN_AGAIN = "Run the same command again: files that are whole are kept"


@dataclass(frozen=True)
class Distribution:
    """A file of an index: a wheel, or the source distribution of what has no wheel. `sha256` is the index's word."""

    pin: str
    name: str
    address: str
    sha256: str
    bytes: int

    @property
    def is_wheel(self) -> bool:
        return self.name.endswith(".whl")


def resolve(wanted: Path, target: Target, *options: str) -> list[Distribution]:
    """The files that uv would install for the requirements in the file `wanted`. Raises EnvironmentFailed."""
    with tempfile.TemporaryDirectory() as place:
        lock = Path(place, "pylock.toml")
        output = ("--quiet", "--no-header", "--format", "pylock.toml", "--output-file", str(lock))
        try:
            run_uv("pip", "compile", str(wanted), *output, "--python", sys.executable, *target.arguments, *options)
        except EnvironmentFailed as error:
            fault = f"the packages of {wanted.stem} for {target.platform} and Python {target.python}: {error}"
            raise EnvironmentFailed(fault, log_tail=error.log_tail) from error
        document = tomllib.loads(lock.read_text(encoding="utf-8"))
        return [_distribution(package, target, lock.parent) for package in document.get("packages", ())]


def _distribution(package: Mapping[str, Any], target: Target, base: Path) -> Distribution:
    """The wheel of a package for the target, else its source."""
    by_name = {_file_name(entry): entry for entry in package.get("wheels", ())}
    name, pin = target.best(by_name), f"{package['name']}=={package['version'].partition('+')[0]}"
    entry = by_name[name] if name else package.get("sdist")
    if entry is None:
        raise EnvironmentFailed(f"{pin} has no wheel for {target.platform} and Python {target.python}, and no source")
    address = entry.get("url") or str((base / entry["path"]).resolve())
    return Distribution(
        pin, _file_name(entry), address, entry.get("hashes", {}).get("sha256", ""), int(entry.get("size") or 0)
    )


def _file_name(entry: Mapping[str, Any]) -> str:
    path = urlsplit(entry["url"]).path if "url" in entry else entry["path"]
    return str(entry.get("name") or unquote(path)).rpartition("/")[2]


def environment_pins(pins: Path, target: Target) -> tuple[list[Distribution], dict[str, frozenset[str]]]:
    """The files that bring an environment's pins, and the SHA-256 that each of them may have, by its pin."""
    settings = pip_settings()
    backend = target.backend(torch_backend(settings))
    by_backend = bool(backend) or uv_takes_pytorch_s_index()
    lines = [line.split() for line in hashed(pins, settings, backend=by_backend).splitlines()]
    allowed = {pin: frozenset(part.removeprefix("--hash=sha256:") for part in hashes) for pin, *hashes in lines}
    return resolve(pins, target, "--no-deps", *_options(pins, backend)), allowed


def beside_pins(pins: Path, target: Target, wheels: Path) -> list[Distribution]:
    """What the target needs beside the pins, such as CUDA's libraries; the pins' own wheels are in `wheels`."""
    settings = pip_settings()
    links = [part for place in (*wheel_places(settings), str(wheels)) for part in ("--find-links", place)]
    return resolve(pins, target, "--no-build", *links, *_options(pins, target.backend(torch_backend(settings))))


def _options(pins: Path, backend: str | None) -> list[str]:
    return [*(["--torch-backend", backend] if backend else []), *adjustment_arguments(pins)]


def fetch(
    distribution: Distribution,
    target: Target,
    folder: Path,
    advance: Callable[[float], None],
    allowed: Mapping[str, frozenset[str]] = MappingProxyType({}),
) -> Path:
    """The wheel in `folder`; of a source distribution the one that is built of it here, once.

    Raises EnvironmentFailed where a file is not the one that is known by its name, does not come, or is for this
    machine alone and not for the target.
    """
    known = {distribution.sha256} - {""} or allowed.get(distribution.pin, frozenset())
    file = folder / distribution.name
    if distribution.is_wheel:
        if not (file.exists() and hash_file(file) in known):
            _download(distribution, file, allowed)
        advance(distribution.bytes)
        return file
    sha256 = read_note(folder / BUILT).get(distribution.pin)
    wheels = folder.glob(f"{distribution.pin.partition('==')[0].replace('-', '_')}-*.whl")
    built = next((wheel for wheel in wheels if hash_file(wheel) == sha256), None)
    built = built or _build(distribution, target, folder, allowed)
    advance(distribution.bytes)
    return built


def _download(distribution: Distribution, file: Path, allowed: Mapping[str, frozenset[str]]) -> None:
    if file.name != distribution.name or file.name in ("", ".", "..") or "/" in distribution.name:
        raise EnvironmentFailed(f"{distribution.name!r:.100} is no name of a package's file")
    sha256 = hashlib.sha256()
    with whole_file(file) as out:
        try:
            for part in _parts(distribution.address):
                sha256.update(part)
                out.write(part)
        except httpx.HTTPError as error:
            where = without_credentials(distribution.address)
            raise EnvironmentFailed(
                f"{distribution.name} does not come from {where}: {one_line(error)}. {RUN_AGAIN}"
            ) from error
        known = allowed.get(distribution.pin)
        if sha256.hexdigest() != (distribution.sha256 or sha256.hexdigest()) or (
            known is not None and sha256.hexdigest() not in known
        ):
            raise EnvironmentFailed(f"{distribution.name}: {ANOTHER_FILE}")


def _parts(address: str) -> Iterator[bytes]:
    """The bytes of a file of an index, which may lie on this machine."""
    local = address.removeprefix("file://") if address.startswith(("file://", "/")) else ""
    if local:
        with open_regular(Path(unquote(local) if "://" in address else local), sys.maxsize) as file:
            while part := file.read(CHUNK_BYTES):
                yield part
        return
    auth = _credentials(address)
    client = httpx.Client(trust_env=True, auth=auth, follow_redirects=True, timeout=ANSWER_SECONDS)
    with client, client.stream("GET", address) as answer:
        answer.raise_for_status()
        yield from answer.iter_bytes(CHUNK_BYTES)


def _credentials(address: str) -> httpx.Auth | None:
    """The name and password that the settings or ~/.netrc have for an address's host."""
    settings, host = pip_settings(), urlsplit(address).hostname
    given = [*(os.environ.get(name, "") for name in UV_INDEXES), *index_variables(settings).values()]
    for text in " ".join(given).split():
        place = urlsplit(INDEX_NAME.sub("", text))
        if place.hostname == host and place.username:
            return httpx.BasicAuth(unquote(place.username), unquote(place.password or ""))
    netrc = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    return httpx.NetRCAuth(str(netrc)) if netrc.is_file() and os.access(netrc, os.R_OK) else None


def _build(distribution: Distribution, target: Target, folder: Path, allowed: Mapping[str, frozenset[str]]) -> Path:
    """A wheel of a source distribution that is held to its hash before anything of it runs."""
    with tempfile.TemporaryDirectory() as place:
        source, made = Path(place, distribution.name), Path(place, "made")
        _download(distribution, source, allowed)
        python = target.python if target.runs_what_is_built_here else sys.executable  # then it must be for any machine
        run_uv("build", "--quiet", "--wheel", "--python", python, "--out-dir", str(made), str(source))
        (wheel,) = made.glob("*.whl")
        if not wheel.name.endswith("-none-any.whl") and not target.runs_what_is_built_here:
            raise EnvironmentFailed(
                f"{distribution.pin} has no wheel for {target.platform}, and one that is built here is for this "
                "machine alone. Make the bundle on a machine of that kind, or leave out the methods and engines that "
                "need it"
            )
        with open_regular(wheel, sys.maxsize) as built, whole_file(folder / wheel.name) as out:
            shutil.copyfileobj(built, out)
        file = folder / wheel.name
    write_json(folder / BUILT, {**read_note(folder / BUILT), distribution.pin: hash_file(file)})
    return file


def lines_of(files: Sequence[Path]) -> str:
    """A requirements file that takes these wheels, and no other files under their names."""
    entries = []
    for file in sorted(set(files)):
        name, version, *_ = parse_wheel_filename(file.name)
        entries.append(f"{name}=={version} --hash=sha256:{hash_file(file)}\n")
    return "".join(entries)
