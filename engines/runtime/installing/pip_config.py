"""Pins of an environment and the package sources that pip and uv are set to on this machine."""

from __future__ import annotations

import configparser
import json
import os
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from packaging.utils import canonicalize_name

from engines.runtime.own_packages import CONFIGS
from quant.canonical_json import read_note, read_regular
from quant.checkpoints.safetensors import hash_file
from quant.errors import BitfrontierError, reading

PINS_FOLDER = CONFIGS / "environments"
HASHES = "hashes.json"
BUILT = "built-wheels.json"  # in a folder of wheels: those that `bitfrontier bundle` built, by their pins
PYPI = "https://pypi.org/simple"  # uv's own default
INDEX_NAME = re.compile(r"^[\w.-]+=")  # uv's variables may give an index a name
PATHS = ("UV_CACHE_DIR", "UV_CONFIG_FILE", "UV_PYTHON_INSTALL_DIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC", "TMPDIR")
YES = ("1", "true", "yes", "on")
OF_BACKENDS = frozenset({"torch", "torchao", "torchaudio", "torchcodec", "torchvision", "triton"})  # as uv has it


class UnreadableSettings(BitfrontierError):
    """A file of pip's settings is damaged."""

    exit_code = 2


def adjustments(pins: Path) -> list[Path]:
    """The files beside `NAME.txt` that change what its packages ask for.

    `NAME.excludes` lists packages that must not be installed, `NAME.overrides` versions to take against their word.
    """
    return [file for file in (pins.with_suffix(".excludes"), pins.with_suffix(".overrides")) if file.exists()]


def adjustment_arguments(pins: Path) -> list[str]:
    """The same as uv's arguments."""
    return [part for file in adjustments(pins) for part in (f"--{file.suffix[1:]}", str(file))]


def hashed(pins: Path, settings: Mapping[str, Sequence[str]], *, backend: bool) -> str:
    """The pins with the SHA-256 of each file that may bring them, as constraints for uv. They lie beside the pins and
    are no part of an environment's identity: they change who may bring a version, not which one.

    For all pins that is a file of PyPI. Of OF_BACKENDS there are builds for each kind of GPU. With a `backend` uv takes
    these from PyTorch's own index and asks no other. So they have no hash: which files are there is not known here, and
    a hash would make a sound machine's environment impossible. Without one, a wheel in a folder that this machine is
    set to take wheels from (find-links) is as good as PyPI's, and no other file is. So is a wheel that such a folder's
    BUILT lists: it was built of a source distribution that was held to these hashes.
    """
    file, built = pins.with_name(HASHES), built_wheels(settings)
    known: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    constraints = []
    for line in (line.partition(";")[0].strip() for line in pins.read_text(encoding="utf-8").splitlines()):
        name, _, version = line.partition("==")
        if line not in known or (backend and name in OF_BACKENDS):
            continue
        digests = known[line].split()
        if name in OF_BACKENDS:
            digests += map(hash_file, local_wheels(name, version, settings))
        digests += [built[line]] if line in built else []
        constraints.append(" ".join([line, *(f"--hash=sha256:{digest}" for digest in digests)]))
    return "".join(f"{constraint}\n" for constraint in constraints)


def local_wheels(name: str, version: str, settings: Mapping[str, Sequence[str]]) -> list[Path]:
    """The wheels of a version, whatever its local label, in folders that pip or uv are set to take wheels from."""
    wheels = [
        wheel for place in wheel_places(settings) for wheel in sorted(_folder(place).glob(f"{name}-{version}*.whl"))
    ]
    return [wheel for wheel in wheels if wheel.name.split("-")[1].partition("+")[0] == version]


def built_wheels(settings: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The SHA-256 of each wheel that was built for a bundle, by its pin, in folders that wheels are taken from."""
    notes = [read_note(_folder(place) / BUILT) for place in wheel_places(settings)]
    return {pin: str(sha256) for note in notes for pin, sha256 in note.items()}


def wheel_places(settings: Mapping[str, Sequence[str]]) -> list[str]:
    """Folders and pages that pip or uv are set to take wheels from."""
    return [*settings.get("find-links", ()), *filter(None, os.environ.get("UV_FIND_LINKS", "").split(","))]


def _folder(place: str) -> Path:
    return Path(place.removeprefix("file://"))


def pip_files() -> list[Path]:
    """pip's configuration files that may be read; later ones count more. As pip has it: files of somebody else's are
    left out, and with PIP_CONFIG_FILE=/dev/null all are.
    """
    given = os.environ.get("PIP_CONFIG_FILE")
    if given == os.devnull:
        return []
    files = ["/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf", f"{sys.base_prefix}/pip.conf"]
    return _readable([*files, given] if given else files)


def _readable(names: Sequence[str]) -> list[Path]:
    """Of these files those that are there and may be read; in a home of somebody else's `is_file` alone would fail."""
    files = [Path(name).expanduser() for name in names]
    return [file for file in files if os.access(file, os.R_OK) and file.is_file()]


def pip_settings() -> dict[str, list[str]]:
    """Index and find-links settings that pip has on this machine; uv reads its own (UV_*, uv.toml) by itself.

    Sources, later ones win: the configuration files in the order of pip's documentation, then PIP_* variables.
    Raises UnreadableSettings.
    """
    parser = configparser.RawConfigParser()
    for file in pip_files():
        with reading(file, UnreadableSettings, "Correct it: pip reads it too"):
            parser.read_string(read_regular(file).decode(), str(file))
    settings: dict[str, list[str]] = {}
    for key in ("index-url", "extra-index-url", "find-links", "no-index"):
        for section in ("global", "install"):
            if parser.has_option(section, key):
                settings[key] = parser.get(section, key).split()
        variable = os.environ.get("PIP_" + key.upper().replace("-", "_"))
        if variable:
            settings[key] = variable.split()
    return settings


def index_variables(settings: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """pip's settings as uv's variables, where uv has none of its own; not as arguments, which other users can read, for
    an address may hold a password.

    pip takes the best version of all indexes: there a local label (`2.13.0+theirs`) wins by its number alone, and what
    it depends on is built, which runs its code, before any hash is compared. So the main index is asked first, and the
    others for what it does not have.
    """
    own, main, extra = os.environ, main_index(settings), settings.get("extra-index-url", [])
    variables = {}
    if forbids_indexes(settings):
        extra = []
    elif settings.get("index-url") and not own.get("UV_DEFAULT_INDEX") and not own.get("UV_INDEX_URL"):
        variables["UV_DEFAULT_INDEX"] = main
    if extra:
        variables["UV_INDEX"] = " ".join([*own.get("UV_INDEX", "").split(), main, *extra])
        variables["UV_INDEX_STRATEGY"] = own.get("UV_INDEX_STRATEGY") or "unsafe-first-match"
    if settings.get("find-links"):
        places = [*filter(None, [own.get("UV_FIND_LINKS")]), *settings["find-links"]]
        variables["UV_FIND_LINKS"] = ",".join(places)
    return variables


def forbids_indexes(settings: Mapping[str, Sequence[str]]) -> bool:
    """Whether pip is set to ask no index (`no-index`); uv has no variable for it."""
    return " ".join(settings.get("no-index", ())).lower() in YES


def absolute_paths(variables: Mapping[str, str]) -> dict[str, str]:
    """Those of uv's variables that hold relative paths (`UV_CACHE_DIR=.uv-cache`), from the working directory: uv is
    started in another one.
    """
    paths = {name: str(Path(variables[name]).absolute()) for name in PATHS if variables.get(name)}
    if places := variables.get("UV_FIND_LINKS"):
        each = [place if "://" in place else str(Path(place).absolute()) for place in places.split(",")]
        paths["UV_FIND_LINKS"] = ",".join(each)
    return paths


def main_index(settings: Mapping[str, Sequence[str]]) -> str:
    """The address of the index that others come after: that of uv's variables, pip's settings, uv's files, or PyPI."""
    given = [os.environ.get("UV_DEFAULT_INDEX"), os.environ.get("UV_INDEX_URL"), *settings.get("index-url", [])[:1]]
    address = next(filter(None, (*given, *map(_default_index, uv_files()))), PYPI)
    return INDEX_NAME.sub("", address)


def uv_files() -> list[Path]:
    """uv's configuration files that are there; earlier ones count more. With UV_NO_CONFIG uv reads none."""
    if os.environ.get("UV_NO_CONFIG", "").lower() in YES:
        return []
    user = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    given = os.environ.get("UV_CONFIG_FILE")
    return _readable([given] if given else [f"{user}/uv/uv.toml", "/etc/uv/uv.toml"])


def _default_index(file: Path) -> str | None:
    """Raises nothing where the file is damaged: uv itself says so."""
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        indexes = [*table.get("index", ()), *table.get("pip", {}).get("index", ())]
        addresses = [index["url"] for index in indexes if index.get("default")]
        addresses += [table.get("index-url"), table.get("pip", {}).get("index-url")]
        return next(map(str, filter(None, addresses)), None)
    except (OSError, ValueError, AttributeError, LookupError, TypeError):
        return None


def torch_backend(settings: Mapping[str, Sequence[str]]) -> str | None:
    """None where find-links holds a torch wheel, which is then used; else uv picks the CUDA or the CPU build."""
    for place in settings.get("find-links", []):
        if list(_folder(place).glob("torch-*.whl")):
            return None
    return os.environ.get("UV_TORCH_BACKEND", "auto")


def uv_takes_pytorch_s_index() -> bool:
    """Whether uv is set by itself to take PyTorch's builds from its own index, whatever is asked of it here."""
    return bool(os.environ.get("UV_TORCH_BACKEND")) or any(map(_sets_backend, uv_files()))


def _sets_backend(file: Path) -> bool:
    """Raises nothing where the file is damaged: uv itself says so."""
    try:
        return bool(tomllib.loads(file.read_text(encoding="utf-8"))["pip"].get("torch-backend"))
    except (OSError, ValueError, AttributeError, LookupError, TypeError):
        return False


def missing_pins(pins: Path, packages: Mapping[str, str]) -> list[str]:
    """The pins that `packages` (name → version) does not satisfy; local version labels (+cpu) are ignored."""
    wrong, installed = [], {canonicalize_name(name): release for name, release in packages.items()}
    for line in pins.read_text(encoding="utf-8").splitlines():
        name, equals, version = line.split(";")[0].partition("==")
        if not equals or line.startswith("#") or ";" in line:
            continue
        have = installed.get(canonicalize_name(name.strip()), "").split("+")[0]
        if have != version.strip().split("+")[0]:
            wrong.append(f"{name.strip()}=={version.strip()} (found {have or 'none'})")
    return wrong
