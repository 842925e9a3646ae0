"""What was not built or started here: a given interpreter by its packages, an image by its digest, a program by its
version, an attached server by what it says of itself. Keys hold the first three, so that another version under the same
path is another environment; a part has the last, so that parts of two servers behind one address are not mixed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import MappingProxyType

import httpx

from engines.bounded_http import json_of, request
from engines.runtime.child_environment import child_environment
from engines.runtime.prometheus import read_gauges
from quant.canonical_json import open_regular

ASK_SECONDS = 60.0
SERVER_SECONDS = 5.0
MODELS = "/v1/models"
# not `created`, which many servers set to the time of the request
SELF_DESCRIPTIONS = (
    (MODELS, ("id", "root", "max_model_len")),
    ("/version", ("version",)),  # vLLM, TensorRT-LLM
    ("/api/version", ("version",)),  # Ollama
    ("/info", ("model_id", "model_sha", "version")),  # TGI
    ("/get_model_info", ("model_path", "weight_version")),  # SGLang
    ("/props", ("model_path", "build_info")),  # llama-server
)
STARTED = "process_start_time_seconds"  # seconds since 1970, of every Prometheus client
SHOWN_CHARACTERS = 1000  # it is in each part and trial, and a server may call itself anything
VERSION = re.compile(r"(?<![\d:.])\d+(?:\.\d+)+[\w.+-]*")  # not the end of a clock's time
PACKAGES = """
import importlib.metadata as metadata, json, sys
versions = {}
for d in metadata.distributions():  # in the order of the path: the first of a name is the one that is imported
    versions.setdefault(d.metadata["Name"].lower().replace("_", "-"), d.version)
print(json.dumps([sys.version.split()[0], sorted(f"{name}=={version}" for name, version in versions.items())]))
"""


@cache
def interpreter_identity(python: str, site: tuple[str, ...] = ()) -> str:
    """Its Python version and a digest of its packages, those in the folders of `site` too; the paths alone where it
    does not run.
    """
    answer = _output(python, "-c", PACKAGES, variables={"PYTHONPATH": os.pathsep.join(site)} if site else {})
    try:
        version, packages = json.loads((answer or "").splitlines()[-1])
        digest = hashlib.sha256("\n".join(packages).encode()).hexdigest()[:16]
        return f"python:{version}, {len(packages)} packages {digest}"
    except (LookupError, ValueError, TypeError, RecursionError):  # what it prints may be anything
        return f"python:{os.pathsep.join([python, *site])} (its packages are not known)"


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
    with open_regular(Path(path), sys.maxsize) as file:
        return f"program:{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"


def server_identity(url: str, headers: Mapping[str, str], metrics_url: str | None, model: str) -> str:
    """Model, version and start of a server that somebody else runs, as far as it tells; "" where it tells nothing. Of
    the models that a gateway lists only `model` counts: the others come and go.
    """
    facts = []
    for path, names in SELF_DESCRIPTIONS:
        with suppress(httpx.HTTPError, ValueError, LookupError):  # not there, closed to us, or of another kind
            answer = request("GET", url + path, headers, seconds=SERVER_SECONDS)
            document = json_of(answer) if answer.status_code == 200 else None
            entries = document["data"] if path == MODELS and isinstance(document, dict) else [document]
            known = [entry for entry in entries if isinstance(entry, dict)]
            known = [entry for entry in known if path != MODELS or entry.get("id") == model]
            facts += [f"{name} {entry[name]}" for entry in known for name in names if entry.get(name)]
    with suppress(httpx.HTTPError, ValueError):
        gauges = read_gauges(metrics_url, headers) if metrics_url else {}
        facts += [f"started {gauges[STARTED]:.0f}"] if STARTED in gauges else []
    return ", ".join(dict.fromkeys(facts))[:SHOWN_CHARACTERS]


def _output(*command: str, variables: Mapping[str, str] = MappingProxyType({})) -> str | None:
    """What a command prints; None where it fails or does not end."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=ASK_SECONDS,
            env=child_environment(variables),
            check=True,
            cwd="/",  # where Python would find what no package of its own is
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
