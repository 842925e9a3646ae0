"""A sweep from a bundle alone: no index, no hub, no data from elsewhere."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from engines.runtime.cache import create_cache
from engines.runtime.environments import PROGRAMS, resolve
from engines.runtime.installing.pip_config import adjustments
from engines.runtime.installing.pythons import OWN, python_for
from flows.bundle.contents import (
    DATASETS,
    HUB,
    WHEELS,
    BadBundle,
    Contents,
    check_files,
    glibc_and_architecture,
    read_contents,
)
from flows.execute.prepare import environment_names
from flows.plan.source import PlanError, Problem
from flows.sources.samples import SAMPLE_DATA, sample
from flows.state.progress_display import Display
from flows.validate.resolved import ResolvedPlan
from quant.canonical_json import with_home
from quant.checkpoints.safetensors import hash_file
from quant.errors import program
from quant.hashing import digest

# what a shell or a file of this machine says of indexes: a bundle is used alone
INDEXES = (
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"),
    *("UV_FIND_LINKS", "UV_CONFIG_FILE", "UV_TORCH_BACKEND", "UV_INDEX_STRATEGY"),
)


def from_bundle(bundle: str | None, check: Callable[[Path | None], ResolvedPlan], display: Display) -> ResolvedPlan:
    """The plan that `check` resolves, given the folder that its relative names start from (None: the plan's own).

    With a bundle all that it needs comes from there alone, from now on and for all children of this process.
    Raises BadBundle before any work: where the bundle is damaged, is for another machine, or lacks something.
    """
    if bundle is None:
        return check(None)
    folder = with_home(bundle).absolute()
    contents = read_contents(folder)
    _check_machine(folder, contents)
    check_files(folder, contents, display)
    _set_variables(folder, contents)
    display.say(bundle_line(folder, contents))
    try:
        sweep = check(folder / contents.base)
    except PlanError as error:
        fix = f"if the plan was changed since then, make the bundle again by `{program()} bundle`"
        hint = Problem(1, f"all files come from the bundle {folder}, made {contents.made[:10]}", fix)
        raise PlanError(error.file, [*error.problems, hint]) from error
    if lacking := list(_lacking(folder, contents, sweep)):
        raise BadBundle(
            f"{folder} was made for the plan '{contents.plan}' as it was then, and lacks {'; '.join(lacking)}. Make it "
            f"again by `{program()} bundle` where there is a network"
        )
    return replace(sweep, bundle=str(folder))


def bundle_line(folder: Path, contents: Contents) -> str:
    """Where everything comes from."""
    return f"from the bundle {folder}, made {contents.made[:10]} for {contents.machine}"


def _check_machine(folder: Path, contents: Contents) -> None:
    """Raises BadBundle where its wheels are not for this machine, or its path is none that pip and uv take."""
    minor, architecture = glibc_and_architecture(contents.platform)
    here = f"this is {platform.system().lower()} {platform.machine()}"
    if platform.system() != "Linux" or platform.machine() != architecture:
        raise BadBundle(f"{folder} is for {contents.machine}, and {here}. Make one with --platform for this machine")
    library, version = platform.libc_ver()
    if library == "glibc" and int(version.split(".")[1]) < minor:
        raise BadBundle(
            f"{folder} is for {contents.machine}, and this machine has glibc {version}. Make one with --platform "
            f"manylinux_2_{version.split('.')[1]}_{architecture}"
        )
    if contents.python != OWN:
        raise BadBundle(
            f"{folder} is for {contents.machine}, and bitfrontier runs on Python {OWN} here. Make one with --python "
            f"{OWN}, or install bitfrontier for Python {contents.python}"
        )
    if set(str(folder)) & set(" ,\t\n"):
        raise BadBundle(f"{folder}: pip and uv take no wheels from a path with a space or a comma. Move the bundle")


def _set_variables(folder: Path, contents: Contents) -> None:
    """Set what decides where packages, models and data come from: children get it by `child_environment`, and the
    libraries that read it when they were imported are told where they have been.
    """
    data = _writable_data(folder, contents)
    for name in INDEXES:
        os.environ.pop(name, None)
    os.environ |= {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": str(folder / WHEELS),
        "PIP_NO_INDEX": "1",
        "UV_NO_CONFIG": "1",
        "UV_OFFLINE": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(folder / HUB),
        "HF_DATASETS_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(data),
    }
    if constants := sys.modules.get("huggingface_hub.constants"):
        vars(constants).update(HF_HUB_OFFLINE=True, HF_HUB_CACHE=str(folder / HUB))
    if config := sys.modules.get("datasets.config"):
        vars(config).update(HF_HUB_OFFLINE=True, HF_DATASETS_CACHE=data)


def _writable_data(folder: Path, contents: Contents) -> Path:
    """A copy of the bundle's data sets of the hub: `datasets` locks what it reads, and a bundle may be read-only."""
    place = create_cache() / "bundles" / digest([contents.model_dump()])[:32]
    place.parent.mkdir(exist_ok=True)
    with FileLock(place.with_suffix(".lock")):
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=place.parent, prefix=f"{place.name}.") as beside:
                copy = Path(beside, "copy")
                if (folder / DATASETS).is_dir():
                    shutil.copytree(folder / DATASETS, copy)
                copy.mkdir(exist_ok=True)
                copy.rename(place)
    return place


def _lacking(folder: Path, contents: Contents, sweep: ResolvedPlan) -> Iterator[str]:
    """What the plan needs, and the bundle has not; models and files that are not there the plan's check has named."""
    for name, pins in pins_of(sweep).items():
        yield from _environment_lack(contents, name, pins)
    present = {file.sha256 for file in contents.files}
    samples = {facts.location for facts in sweep.models if facts.kind == "sample"} | set(sample_data(sweep))
    for name in sorted(samples):
        if str(sample(name)["wheel_sha256"]) not in present:
            yield f"the sample pypi:{name}"
    tasks = {task.name for task in sweep.tasks}
    if sweep.plan.data == "hub":
        yield from (f"the data of the task {name}" for name in sorted(tasks - {*contents.tasks}))


def pins_of(sweep: ResolvedPlan) -> dict[str, Path]:
    """The pins of every environment that is built for the plan, by name. Nothing that it names is started."""
    built = [name for name in environment_names(sweep) if name not in PROGRAMS and sweep.stand_in(name) is None]
    environments = [resolve(name) for name in built]
    return {environment.name: environment.pins for environment in environments if environment.pins is not None}


def sample_data(sweep: ResolvedPlan) -> list[str]:
    """The sample whose data the plan reads, for tasks or to calibrate; none where it reads none."""
    calibrates = any(cell.quantization.calibration and cell.unsupported is None for cell in sweep.cells)
    texts = [sweep.plan.data, *([sweep.plan.calibration.text] if calibrates else [])]
    return [SAMPLE_DATA] if f"pypi:{SAMPLE_DATA}" in texts else []


def _environment_lack(contents: Contents, name: str, pins: Path) -> Iterator[str]:
    bundled = contents.environments.get(name)
    if bundled is None:
        yield f"the environment '{name}'"
    elif bundled.pins != pins_digest(pins):
        yield f"the environment '{name}' with the pins of this program (the bundle's are those of {contents.version})"
    elif (python := python_for(pins)).minor != bundled.python or not python.here:
        yield f"a Python {bundled.python} on this machine for the environment '{name}', which no bundle holds"


def pins_digest(pins: Path) -> str:
    """Of all that decides which wheels an environment gets."""
    return digest([hash_file(file) for file in (pins, *adjustments(pins))])
