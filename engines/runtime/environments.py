"""Isolated Python environments for quantizers and engines, one per file in `configs/environments/`.

vLLM, llm-compressor and Transformers pin different packages, so each gets a virtual environment built by `uv` once,
under the cache, in a folder named after the hash of its pins. A given interpreter or a container image can stand in.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from engines.runtime.cache import cache_folder, create_cache, uv_variables
from engines.runtime.child_environment import QUIET, child_environment
from engines.runtime.entry_points import QUANT_WORKER
from engines.runtime.identities import image_identity, interpreter_identity, program_identity
from engines.runtime.installing.bytecode import compile_modules
from engines.runtime.installing.pip_config import (
    PINS_FOLDER,
    absolute_paths,
    adjustment_arguments,
    adjustments,
    forbids_indexes,
    hashed,
    index_variables,
    pip_settings,
    torch_backend,
    uv_takes_pytorch_s_index,
)
from engines.runtime.installing.pythons import python_for
from engines.runtime.own_packages import import_folder
from quant.canonical_json import with_home, write_json, write_whole
from quant.errors import CellFailure
from quant.foreign_failures import decisive_line
from quant.hashing import digest

logger = logging.getLogger(__name__)

READY = "bitfrontier-ready.json"


BUILDING = "bitfrontier-building.json"


CONSTRAINTS = "bitfrontier-hashes.txt"
HASH_MISMATCH = re.compile(r"Hash mismatch for `[^`\n]+`")
ANOTHER_FILE = (
    "an index has another file under this name and version. Remove that index, or set UV_NO_VERIFY_HASHES=1 if the "
    "file is your own"
)


PROGRAMS = {
    "tgi": "text-generation-launcher",
    "tensorrt-llm": "trtllm-serve",
    "ollama": "ollama",
    "tritonserver": "tritonserver",
}  # not built here: found, or in an image


CONTAINER_TOOLS = ("docker", "podman")


Say = Callable[[str], None]


class EnvironmentFailed(CellFailure):
    """An environment cannot be built or used; the cause holds the tool's own last words."""

    kind = "missing-environment"


@dataclass(frozen=True)
class Environment:
    """Where a child process runs. `identity` goes into keys: what would change the results changes it.

    `command` is put before `-m module …`; `folder` is None for an interpreter or an image that was given.
    """

    name: str
    identity: str
    command: tuple[str, ...]
    folder: Path | None = None
    pins: Path | None = None

    @property
    def is_container(self) -> bool:
        return self.command[0] in CONTAINER_TOOLS

    def argv(self, arguments: Sequence[str], variables: Mapping[str, str]) -> list[str]:
        """The full command line of a process that is started with `variables`. A container gets them, and what keeps
        tools quiet, by `--env NAME`: other users read command lines, and a value may be a key.
        """
        if not self.is_container:
            return [*self.command, *arguments]
        *before, image = self.command
        flags = [part for name in dict.fromkeys([*variables, *QUIET]) for part in ("--env", name)]
        return [*before, *flags, image, *arguments]


def known_environments() -> list[str]:
    """The environments that are built here."""
    return sorted(path.stem for path in PINS_FOLDER.glob("*.txt"))


def resolve(name: str, stand_in: Mapping[str, Any] | None = None) -> Environment:
    """The environment called `name`, not built yet.

    `stand_in` is {"python": path} with "site", or {"image": reference} with "mounts" and "gpus", where they are given.
    """
    if stand_in and "python" in stand_in:
        command = interpreter_command(name, stand_in)
        return Environment(name, interpreter_identity(command[-1], tuple(stand_in.get("site", ()))), command)
    if stand_in and "image" in stand_in:
        more = {key: stand_in[key] for key in ("mounts", "gpus") if stand_in.get(key)}
        command = _container(name, stand_in)
        try:
            identity = image_identity(command[0], stand_in["image"])
        except LookupError as error:
            raise EnvironmentFailed(f"environment '{name}': {error}") from error
        return Environment(name, identity + (f" {digest(more)}" if more else ""), command)
    if name in PROGRAMS:
        path = program_path(name)
        return Environment(name, program_identity(path), (path,))
    pins = PINS_FOLDER / f"{name}.txt"
    if not pins.exists():
        known = ", ".join(known_environments())
        raise EnvironmentFailed(f"no environment '{name}': {pins} does not exist (known: {known})")
    # the CPU wheel of torch and the CUDA wheel satisfy the same pin: what the machine's settings choose belongs to it
    texts = [file.read_text(encoding="utf-8") for file in (pins, *adjustments(pins))]
    python = python_for(pins)
    identity = digest([*texts, python.minor, torch_backend(pip_settings())])
    folder = cache_folder() / "environments" / f"{name}-{identity[:12]}"
    return Environment(name, identity, (str(folder / "bin" / "python"),), folder, pins)


def interpreter_command(name: str, stand_in: Mapping[str, Any]) -> tuple[str, ...]:
    """How a given interpreter is started; nothing is. Raises EnvironmentFailed where it cannot be."""
    python, site = stand_in["python"], stand_in.get("site", ())
    if os.sep in python:
        python = str(with_home(python).absolute())  # children work in other folders
    if shutil.which(python) is None:
        raise EnvironmentFailed(f"environment '{name}': {python} is not an executable interpreter")
    if site and "=" in python:
        raise EnvironmentFailed(f"environment '{name}': {python} has a '=' in its path, which `site` cannot take")
    if missing := [folder for folder in site if not Path(folder).is_dir()]:
        raise EnvironmentFailed(f"environment '{name}': {missing[0]} of `site` is not a folder")
    places = f"PYTHONPATH={os.pathsep.join([str(import_folder()), *site])}"  # ours first, as everywhere
    return ("env", places, python) if site else (python,)


def program_path(name: str) -> str:
    """Where a server lies that is installed by its maker's own means, such as a container that this runs in; it is not
    started. Raises EnvironmentFailed.
    """
    path = shutil.which(PROGRAMS[name])
    if path is None:
        raise EnvironmentFailed(
            f"environment '{name}': no {PROGRAMS[name]} on the PATH; give a container image for it "
            f"(`environments: {{{name}: {{image: …}}}}`), or attach a server that runs"
        )
    return str(Path(path).absolute())  # children work in other folders


def _container(name: str, given: Mapping[str, Any]) -> tuple[str, ...]:
    image = given["image"]
    tool = next((program for program in CONTAINER_TOOLS if shutil.which(program)), None)
    if tool is None:
        raise EnvironmentFailed(f"environment '{name}': image {image} needs docker or podman, and neither is installed")
    ours = import_folder()
    mounts = [f"{ours}:{ours}:ro", f"{cache_folder()}:{cache_folder()}", *given.get("mounts", [])]
    return (
        tool,
        "run",
        "--rm",
        "--init",
        "--network=host",
        *_gpus(tool, given.get("gpus")),
        *(f"--volume={mount}" for mount in mounts),
        f"--entrypoint={PROGRAMS.get(name, 'python3')}",
        image,
    )


def _gpus(tool: str, numbers: Sequence[int] | None) -> list[str]:
    """Docker's own option, whose list wants quotes of its own, or podman's names by the Container Device Interface."""
    if numbers is None and shutil.which("nvidia-smi") is None:
        return []
    if tool == "podman":
        return [f"--device=nvidia.com/gpu={number}" for number in (["all"] if numbers is None else numbers)]
    return ["--gpus=all" if numbers is None else f'--gpus="device={",".join(map(str, numbers))}"']


def asked_for(environment: Environment) -> list[str]:
    """The packages that the environment was made for: those of its `.in` file, not what they bring along."""
    source = PINS_FOLDER / f"{environment.name}.in"
    lines = source.read_text(encoding="utf-8").splitlines() if source.exists() else []
    names = [re.match(r"[A-Za-z0-9._-]+", line) for line in lines]
    return sorted({match[0].lower() for match in names if match} | {"torch", "transformers"})


def is_built(environment: Environment) -> bool:
    """True if a build finished; an environment that was given counts as built."""
    return environment.folder is None or (environment.folder / READY).exists()


def build(environment: Environment, say: Say = lambda _: None) -> None:
    """Build `environment` if it is not there. Two processes never build the same one at the same time."""
    if environment.folder is None or environment.pins is None or is_built(environment):
        return
    folder = environment.folder
    create_cache()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if is_built(environment):
            return
        shutil.rmtree(folder, ignore_errors=True)  # what an interrupted build left
        say(f"building environment {environment.name}")
        logger.info("building environment %s in %s", environment.name, folder)
        run_uv("venv", "--quiet", "--python", python_for(environment.pins).asked, str(folder))
        write_json(folder / BUILDING, {"pins": environment.pins.name})
        settings = pip_settings()
        backend = torch_backend(settings)
        by_backend = bool(backend) or uv_takes_pytorch_s_index()
        write_whole(folder / CONSTRAINTS, hashed(environment.pins, settings, backend=by_backend))
        install = (
            "pip",
            "install",
            "--quiet",
            "--python",
            str(folder / "bin" / "python"),
            "--requirements",
            str(environment.pins),
            "--constraints",
            str(folder / CONSTRAINTS),
            *(["--torch-backend", backend] if backend else []),
            *adjustment_arguments(environment.pins),
        )
        # the pins alone, by their hashes: nothing that a file of somebody else depends on is built before it is refused
        run_uv(*install, "--no-deps")
        # what a machine needs beside them, such as CUDA's libraries for its build of torch: wheels, whose installation
        # runs nothing
        run_uv(*install, "--no-build")
        compile_modules(folder)
        write_json(folder / READY, {"pins": environment.pins.name, "torch_backend": backend})


def run_uv(*arguments: str) -> None:
    """Run uv on this machine's package sources. Raises EnvironmentFailed with its own last words."""
    from uv import find_uv_bin  # not needed where every environment is given

    # uv reads uv.toml and pyproject.toml of the folder that it runs in and of those above: a checkout's constraints are
    # the orchestrator's, and beside a cache folder somebody else may have put his index
    settings = pip_settings()
    variables = child_environment(index_variables(settings) | uv_variables(), fetches=True)
    variables |= absolute_paths(variables)
    no_index = ["--no-index"] if arguments[0] == "pip" and forbids_indexes(settings) else []
    command = [find_uv_bin(), *arguments, *no_index]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", cwd="/", env=variables)
    if done.returncode != 0:
        refused = HASH_MISMATCH.search(done.stderr)
        why = f"{refused[0]}: {ANOTHER_FILE}" if refused else None
        message = f"uv {' '.join(arguments[:2])} failed: {why or decisive_line(done.stderr)}"
        raise EnvironmentFailed(message, log_tail=done.stderr.strip()[-3000:])


def probe(environment: Environment) -> dict[str, Any]:
    """What the environment really holds. Raises EnvironmentFailed where its interpreter does not run."""
    variables = {"PYTHONPATH": str(import_folder())}
    command = environment.argv(["-m", QUANT_WORKER, "--probe"], variables)
    try:
        environ = child_environment(variables)
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=300, env=environ, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        message = f"environment '{environment.name}' does not run: {error}"
        raise EnvironmentFailed(message, kind="broken-environment") from error
    if done.returncode != 0:
        message = f"environment '{environment.name}' does not run: {decisive_line(done.stderr)}"
        raise EnvironmentFailed(message, kind="broken-environment", log_tail=done.stderr.strip()[-1500:])
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report
