"""Compiled modules of an environment. Without them every start of an engine may compile again, within its own time.

uv links equal files of environments to one file of its cache, where that lies on the same disk. What an environment
beside this one has compiled of the same file is linked, too: with torch and Transformers that is most of what there is.
Python holds a compiled module to the time and size of its source.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from engines.runtime.child_environment import child_environment

logger = logging.getLogger(__name__)

MOST_JOBS = 8  # each takes 20 MB, and a container may have less memory than its host has cores


def compile_modules(environment: Path) -> None:
    """Compile the modules of an environment that no other one beside it has compiled. What cannot be compiled, such as
    tests and templates of packages, stays as it is.
    """
    (packages,) = environment.glob("lib/python*/site-packages")
    minor = packages.parent.name  # python3.11
    others = [other for other in environment.parent.glob(f"*/lib/{minor}/site-packages") if other != packages]
    _link_compiled(packages, others, f".cpython-{minor.removeprefix('python').replace('.', '')}.pyc")
    python = str(environment / "bin" / "python")
    # -I: no module of the working folder, no variable of Python's
    jobs = str(min(MOST_JOBS, os.cpu_count() or 1))
    command = [python, "-I", "-m", "compileall", "-q", "-j", jobs, "--invalidation-mode", "timestamp", str(packages)]
    done = subprocess.run(command, env=child_environment({}), capture_output=True, text=True, check=False)
    logger.debug("compiled %s: code %d\n%s%s", packages, done.returncode, done.stdout[-2000:], done.stderr[-2000:])


def _link_compiled(packages: Path, others: Sequence[Path], ending: str) -> None:
    """Link what `others` have compiled of files that are the same files here; `ending` is that of compiled modules."""
    for folder, _, names in os.walk(packages):
        here = Path(folder)
        beside = [other for other in (place / here.relative_to(packages) for place in others) if other.is_dir()]
        for name in (name for name in names if name.endswith(".py")):
            compiled = Path("__pycache__", name.removesuffix(".py") + ending)
            for other in beside:
                with contextlib.suppress(OSError):  # it has no such file, or this disk has no links
                    if (other / name).samefile(here / name):
                        (here / "__pycache__").mkdir(exist_ok=True)
                        (here / compiled).hardlink_to(other / compiled)
                        break
