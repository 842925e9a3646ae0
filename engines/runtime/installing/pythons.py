"""Which Python an environment is built with: this program's own where its pins take that, else another one.

`NAME.in` says what its pins take where that is not every Python that this program runs on (`# requires-python: …`, a
version specifier as in packages' metadata): some packages have wheels for certain versions alone.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packaging.specifiers import SpecifierSet

from engines.runtime.cache import uv_variables
from engines.runtime.child_environment import child_environment
from engines.runtime.installing.pip_config import PINS_FOLDER

TRIED = ("3.14", "3.13", "3.12", "3.11")  # pins are resolved for these, by `make pins`
REQUIRES = re.compile(r"^# requires-python: *(\S+)$", re.MULTILINE)
FORBIDDING = {"UV_PYTHON_DOWNLOADS": ("never", "manual", "false"), "UV_OFFLINE": ("1", "true", "yes", "on")}
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class Python:
    """What uv is asked for, a path or a version; `minor` (such as 3.12) is part of an environment's identity. `takes`
    is what the pins take; `here` is whether it is on this machine.
    """

    asked: str
    minor: str
    takes: str = ""
    here: bool = True


def python_for(pins: Path) -> Python:
    """The Python that the environment of `pins` is built with; nothing is fetched."""
    takes = _taken(pins)
    return Python(sys.executable, OWN) if OWN in SpecifierSet(takes) else _another(takes)


def minor_for(pins: Path, own: str) -> str:
    """The Python that the environment of `pins` is meant for on a machine where this program runs on `own`."""
    takes = SpecifierSet(_taken(pins))
    return own if own in takes else next(version for version in TRIED if version in takes)


def _taken(pins: Path) -> str:
    """The versions of Python that the pins take, as a specifier; empty where that is every one."""
    source = pins.with_suffix(".in")
    match = REQUIRES.search(source.read_text(encoding="utf-8")) if source.exists() else None
    return match[1] if match else ""


@cache
def _another(takes: str) -> Python:
    """The newest that is here and taken; else the newest that is taken, for uv to fetch."""
    versions = [version for version in TRIED if version in SpecifierSet(takes)]
    for version in versions:
        if path := _installed(version):
            return Python(path, version, takes)
    return Python(versions[0], versions[0], takes, here=False)


def _installed(version: str) -> str:
    """The path of an interpreter that uv knows or finds; empty where there is none that starts."""
    from uv import find_uv_bin  # not needed where every environment is given

    command = [find_uv_bin(), "python", "find", "--system", "--no-python-downloads", "--no-project", version]
    done = subprocess.run(
        command,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        cwd="/",
        env=child_environment(uv_variables(), fetches=True),
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def python_fault(name: str) -> str:
    """Why the environment `name` cannot be built for want of a Python that its pins take; empty where it can."""
    python = python_for(PINS_FOLDER / f"{name}.txt")
    if python.here or not (variable := _forbidding()):
        return ""
    return (
        f"environment '{name}' takes Python {python.takes}, none is here, and {variable} forbids uv to fetch it. "
        f"Install Python {python.minor}, or unset the variable"
    )


def python_note(name: str) -> str:
    """That another Python than this program's will be fetched for the environment `name`; empty where none is."""
    python = python_for(PINS_FOLDER / f"{name}.txt")
    if python.here or _forbidding():
        return ""
    return f"environment '{name}' takes Python {python.takes}, none is here: uv fetches {python.minor} when it is built"


def _forbidding() -> str:
    """The variable that forbids uv to fetch a Python, with its value; empty where none does."""
    for variable, words in FORBIDDING.items():
        value = os.environ.get(variable, "")
        if value.lower() in words:
            return f"{variable}={value}"
    return ""
