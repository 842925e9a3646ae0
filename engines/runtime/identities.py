"""What an environment that was not built here consists of: a given interpreter by its packages, an image by its digest,
a program by its version. Keys hold these, so that another version under the same path is another environment.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from functools import cache
from pathlib import Path

from engines.runtime.child_environment import child_environment

ASK_SECONDS = 60.0
VERSION = re.compile(r"(?<![\d:.])\d+(?:\.\d+)+[\w.+-]*")  # not the end of a clock's time
PACKAGES = """
import importlib.metadata as metadata, json, sys
names = sorted({f"{d.metadata['Name']}=={d.version}".lower().replace("_", "-") for d in metadata.distributions()})
print(json.dumps([sys.version.split()[0], names]))
"""


@cache
def interpreter_identity(python: str) -> str:
    """Its Python version and a digest of its installed packages; the path alone where it does not run."""
    answer = _output(python, "-c", PACKAGES)
    if answer is None or not answer.strip():
        return f"python:{python} (its packages are not known)"
    version, packages = json.loads(answer.splitlines()[-1])
    digest = hashlib.sha256("\n".join(packages).encode()).hexdigest()[:16]
    return f"python:{version}, {len(packages)} packages {digest}"


@cache
def image_identity(tool: str, image: str) -> str:
    """The digest of its content, whatever its names. Raises LookupError where the image is not on this machine: a name
    in its place would change all keys when it is pulled, in the middle of a sweep.
    """
    answer = _output(tool, "image", "inspect", "--format", "{{.Id}}", image)
    if not answer or not answer.strip():
        raise LookupError(f"image {image} is not on this machine, so its digest is unknown. Run `{tool} pull {image}`")
    return f"image:{answer.strip()}"


@cache
def program_identity(path: str) -> str:
    """The number that `--version` gives; a hash of the file where it gives none."""
    if number := VERSION.search(_output(path, "--version") or ""):
        return f"program:{Path(path).name} {number[0]}"
    return f"program:{hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]}"


def _output(*command: str) -> str | None:
    """What a command prints; None where it fails or does not end."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=ASK_SECONDS,
            env=child_environment({}),
            check=True,
            cwd="/",  # where Python would find what no package of its own is
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
