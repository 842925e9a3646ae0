"""What the cache folder holds that no run needs any more.

A run is known from when it starts (`register`) until its folder is deleted; what it needs is in its sweep.json.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.runtime.environments import cache_folder, known_environments, resolve
from engines.telemetry.device import machine_slots
from flows.state.locks import RunBusy, is_held, slot_lock
from quant.canonical_json import write_json
from quant.hashing import digest

KINDS = ("checkpoints", "environments", "answers", "models", "data")


@dataclass(frozen=True)
class Unneeded:
    """Something that may be freed."""

    path: Path
    bytes: int


def register(run: Path) -> None:
    """Remember a run's folder, so that what it needs is kept."""
    record = cache_folder() / "runs" / f"{digest([str(run.resolve())])[:16]}.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    write_json(record, {"folder": str(run.resolve())})


def known_runs() -> list[Path]:
    """The folders of all runs that are still there."""
    records = sorted((cache_folder() / "runs").glob("*.json"))
    folders = [Path(json.loads(one.read_text(encoding="utf-8"))["folder"]) for one in records]
    return [one for one in folders if one.is_dir()]


def unneeded(runs: Sequence[Path]) -> list[Unneeded]:
    """What no run of `runs` needs, largest first; environments of the present pins stay for the next one.

    Raises RunBusy where a run is being swept, or a device worked on: they may need more yet.
    """
    return sorted((Unneeded(one, _bytes(one)) for one in _unneeded(runs)), key=lambda one: -one.bytes)


def _unneeded(runs: Sequence[Path]) -> list[Path]:
    if busy := [name for name in machine_slots() if is_held(slot_lock(name))]:
        raise RunBusy(f"{', '.join(busy)}: somebody measures or quantizes there; free the cache when they have ended")
    for run in runs:
        if is_held(run / "sweep.lock"):
            raise RunBusy(f"{run} is being swept; free the cache when it has ended")
    needed = {path for run in runs for path in _needs(run)} | _present_environments()
    return [one for one in _kept() if one.relative_to(cache_folder()).as_posix() not in needed]


def _needs(run: Path) -> list[str]:
    file = run / "sweep.json"
    return list(json.loads(file.read_text(encoding="utf-8")).get("needs", [])) if file.exists() else []


def _present_environments() -> set[str]:
    folders = [resolve(name).folder for name in known_environments()]
    return {one.relative_to(cache_folder()).as_posix() for one in folders if one}


def _kept() -> Iterator[Path]:
    """Folders, half-written ones too, and the files of kept answers; locks and small records stay."""
    for kind in KINDS:
        for path in sorted((cache_folder() / kind).glob("*")):
            if path.is_dir() or path.suffix == ".sqlite":
                yield path


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(one.lstat().st_blocks * 512 for one in files)


def free(found: Sequence[Unneeded]) -> None:
    """Delete them, but for what a run needs by now. Raises RunBusy as `unneeded` does."""
    still = set(_unneeded(known_runs()))
    for path in (one.path for one in found if one.path in still):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
