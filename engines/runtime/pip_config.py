"""Pins of an environment and the package sources that pip and uv are set to on this machine."""

from __future__ import annotations

import configparser
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from packaging.utils import canonicalize_name

from engines.runtime.own_packages import CONFIGS

PINS_FOLDER = CONFIGS / "environments"
HASHES = "hashes.json"


def adjustments(pins: Path) -> list[Path]:
    """The files beside `NAME.txt` that change what its packages ask for.

    `NAME.excludes` lists packages that must not be installed, `NAME.overrides` versions to take against their word.
    """
    return [file for file in (pins.with_suffix(".excludes"), pins.with_suffix(".overrides")) if file.exists()]


def adjustment_arguments(pins: Path) -> list[str]:
    """The same as uv's arguments."""
    return [part for file in adjustments(pins) for part in (f"--{file.suffix[1:]}", str(file))]


def hashed(pins: Path) -> str:
    """The pins with the SHA-256 of each file that PyPI has of them, as constraints for uv; those alone that are known.

    They lie beside the pins and are no part of an environment's identity: they change who may bring a version, not
    which one.
    """
    file = pins.with_name(HASHES)
    known: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    lines = [line.partition(";")[0].strip() for line in pins.read_text(encoding="utf-8").splitlines()]
    wanted = [
        " ".join([line, *(f"--hash=sha256:{digest}" for digest in known[line].split())])
        for line in lines
        if line in known
    ]
    return "".join(f"{line}\n" for line in wanted)


def pip_files() -> list[Path]:
    """pip's configuration files that are there; later ones count more."""
    files = ["/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf", f"{sys.base_prefix}/pip.conf"]
    files += [os.environ["PIP_CONFIG_FILE"]] if os.environ.get("PIP_CONFIG_FILE") else []
    return [file for file in (Path(name).expanduser() for name in files) if file.is_file()]


def pip_settings() -> dict[str, list[str]]:
    """Index and find-links settings that pip has on this machine; uv reads its own (UV_*, uv.toml) by itself.

    Sources, later ones win: the configuration files in the order of pip's documentation, then PIP_* variables.
    """
    parser = configparser.RawConfigParser()
    parser.read(pip_files())
    settings: dict[str, list[str]] = {}
    for key in ("index-url", "extra-index-url", "find-links"):
        for section in ("global", "install"):
            if parser.has_option(section, key):
                settings[key] = parser.get(section, key).split()
        variable = os.environ.get("PIP_" + key.upper().replace("-", "_"))
        if variable:
            settings[key] = variable.split()
    return settings


def index_arguments(settings: Mapping[str, Sequence[str]]) -> list[str]:
    """pip's settings as uv's arguments. pip takes the best version of all indexes; uv needs to be told so, unless its
    own settings say what it takes.
    """
    arguments = []
    if not os.environ.get("UV_INDEX_URL") and not os.environ.get("UV_DEFAULT_INDEX"):
        arguments += [part for url in settings.get("index-url", [])[:1] for part in ("--default-index", url)]
    extra = settings.get("extra-index-url", [])
    arguments += [part for url in extra for part in ("--index", url)]
    arguments += [part for place in settings.get("find-links", []) for part in ("--find-links", place)]
    as_pip = extra and not os.environ.get("UV_INDEX_STRATEGY")
    return arguments + (["--index-strategy", "unsafe-best-match"] if as_pip else [])


def torch_backend(settings: Mapping[str, Sequence[str]]) -> str | None:
    """None where find-links holds a torch wheel, which is then used; else uv picks the CUDA or the CPU build."""
    for place in settings.get("find-links", []):
        if list(Path(place.removeprefix("file://")).glob("torch-*.whl")):
            return None
    return os.environ.get("UV_TORCH_BACKEND", "auto")


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
