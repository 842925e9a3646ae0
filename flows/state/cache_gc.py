"""What the cache folder holds that no run needs any more, and that is ours to free (`flows.state.ownership`).

A run is known from when it starts (`register`) until its folder is deleted; what it needs is in its sweep.json.
Checkpoints that were made to be served are needed until they are released (`flows.state.kept_checkpoints`).
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from engines.runtime.cache import cache_folder, create_cache, is_marked, mark_cache
from engines.runtime.environments import known_environments, resolve
from engines.runtime.own_packages import import_folder
from engines.telemetry.device import machine_slots
from flows.state.kept_checkpoints import list_kept
from flows.state.locks import RunBusy, cache_alone, is_held, slot_lock
from flows.state.ownership import RecordUnreadable, made_here, read_record
from quant.canonical_json import write_json
from quant.errors import BitfrontierError, program
from quant.hashing import digest

logger = logging.getLogger(__name__)


class NotOurs(BitfrontierError):
    """The cache folder does not say that it is ours."""

    exit_code = 2


@dataclass(frozen=True)
class Unneeded:
    """Something that may be freed."""

    path: Path
    bytes: int


def register(run: Path, plan: str) -> None:
    """Remember a run's folder, so that what it needs is kept, and by which text of a plan it was begun here."""
    record = _record(run)
    create_cache()
    record.parent.mkdir(exist_ok=True)
    write_json(record, {"folder": str(run.resolve()), "plan": digest([plan])})


def begun_here(run: Path, plan: str) -> bool:
    """Whether a sweep of this very text was begun in this folder, by us: a run that came from somebody else was not."""
    record = _record(run)
    return record.exists() and read_record(record).get("plan") == digest([plan])


def _record(run: Path) -> Path:
    return cache_folder() / "runs" / f"{digest([str(run.resolve())])[:16]}.json"


def adopt_cache() -> Path:
    """Mark the cache folder as ours, because its owner says so."""
    create_cache()
    if not is_marked():
        mark_cache()
    return cache_folder()


def known_runs() -> list[Path]:
    """The folders of all runs that are still there. Raises RecordUnreadable."""
    folders = [_folder(file) for file in sorted((cache_folder() / "runs").glob("*.json"))]
    return [folder for folder in folders if folder.is_dir()]


def _folder(file: Path) -> Path:
    folder = read_record(file).get("folder")
    if not isinstance(folder, str):
        raise RecordUnreadable(f"{file} names no folder of a run; nothing is freed")
    return Path(folder)


def unneeded(runs: Sequence[Path]) -> list[Unneeded]:
    """What no run of `runs` needs, largest first; environments of the present pins stay for the next one.

    Raises RunBusy where the cache is in use, a run being swept, or a device worked on: they may need more yet;
    NotOurs where the folder has no tag of ours; RecordUnreadable.
    """
    if not cache_folder().exists():
        return []
    _check(runs)
    with cache_alone():
        unneeded = []
        for path in _unneeded(runs):
            files = path.rglob("*") if path.is_dir() else [path]
            unneeded.append(Unneeded(path, sum(file.lstat().st_blocks * 512 for file in files)))
        return sorted(unneeded, key=lambda entry: -entry.bytes)


def _check(runs: Sequence[Path]) -> None:
    if not is_marked():
        raise NotOurs(
            f"{cache_folder()} is not marked as a cache of bitfrontier: it held other files first, or an older version "
            f"made it. If this folder is bitfrontier's cache, run `{program()} gc --adopt` once"
        )
    if busy := [name for name in machine_slots() if is_held(slot_lock(name))]:
        raise RunBusy(f"{', '.join(busy)}: a measurement or quantization uses it. Free the cache when it has ended")
    for run in runs:
        if is_held(run / "sweep.lock"):
            raise RunBusy(f"{run} is being swept. Free the cache when the sweep has ended")


def _unneeded(runs: Sequence[Path]) -> list[Path]:
    of_this_version = [import_folder(), *(resolve(name).folder for name in known_environments())]
    cache = cache_folder()
    needed = (
        {name for run in runs for name in _needs(run)}
        | {
            folder.relative_to(cache).as_posix()
            for folder in of_this_version
            if folder and folder.is_relative_to(cache)
        }
        | {checkpoint.path for checkpoint in list_kept()}
    )
    unneeded = [path for path in made_here() if path.relative_to(cache).as_posix() not in needed]
    # what somebody has mounted there is his. By the kernel's list: a folder bound from the same disk has its number,
    # and in a container files of an image may have another one than their folders
    mounts = [Path(partition.mountpoint) for partition in psutil.disk_partitions(all=True)]
    return [path for path in unneeded if not any(mount.is_relative_to(path.resolve()) for mount in mounts)]


def _needs(run: Path) -> list[str]:
    file = run / "sweep.json"
    needs = read_record(file).get("needs", []) if file.exists() else []
    if not isinstance(needs, list) or not all(isinstance(name, str) for name in needs):
        raise RecordUnreadable(f"{file} does not say what the run needs; nothing is freed")
    return needs


def free(entries: Sequence[Unneeded]) -> None:
    """Delete them, but for what a run needs by now. Raises what `unneeded` raises."""
    if not entries:
        return
    _check(known_runs())
    with cache_alone():
        still = set(_unneeded(known_runs()))
        for path in (entry.path for entry in entries if entry.path in still):
            logger.info("freeing %s", path)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
