"""Who works on what, told by locks: the kernel opens them when their holder dies, so no slot stays taken."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from engines.runtime.cache import cache_folder, create_cache
from quant.errors import BitfrontierError

CACHE_LOCK = "cache.lock"
SHARED_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")  # of all processes of a machine, in this order


class RunBusy(BitfrontierError):
    """Another process works on this run."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock: its process, and since when (Unix seconds)."""

    pid: int
    since_seconds: float


@contextmanager
def hold(file: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold `file` until the block ends; the file says who does. Without `wait`, raises filelock's Timeout."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file).acquire(blocking=wait):
        file.write_text(json.dumps(asdict(Holder(os.getpid(), time.time()))), encoding="utf-8")
        yield


def is_held(file: Path) -> bool:
    """True while a living process holds `file`. A process that asks for it in this very moment waits for a moment."""
    if not file.exists():
        return False
    try:
        with FileLock(file).acquire(blocking=False):
            return False
    except Timeout:
        return True


def holder(file: Path) -> Holder | None:
    """Who holds `file` now; None where nobody does."""
    if not is_held(file):
        return None
    try:
        return Holder(**json.loads(file.read_text(encoding="utf-8")))
    except ValueError:  # it was taken just now and says nothing yet
        return Holder(0, time.time())


@contextmanager
def cache_in_use() -> Iterator[None]:
    """Hold the cache together with all others who use it, so that nothing in it is freed meanwhile."""
    with (create_cache() / CACHE_LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextmanager
def cache_alone() -> Iterator[None]:
    """Hold the cache alone. Raises RunBusy where somebody uses it."""
    with (cache_folder() / CACHE_LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunBusy(
                f"{cache_folder()} is in use by a sweep or a quantization; free the cache when they have ended"
            ) from error
        yield


@contextmanager
def slots(names: Iterable[str]) -> Iterator[None]:
    """Hold these devices, so that nobody else on this machine measures there, whatever cache folder they use."""
    with ExitStack() as held:
        for name in sorted(names):  # in one order for all, or two could wait for each other
            held.enter_context(hold(slot_lock(name)))
        yield


def slot_lock(name: str) -> Path:
    """What whoever works on a device holds: in one place for all of a user's caches, or in $BITFRONTIER_LOCKS.

    Not in $TMPDIR: two shells may have two, and their sweeps would measure on one device at the same time.
    """
    given = os.environ.get("BITFRONTIER_LOCKS")
    shared = next((folder for folder in SHARED_FOLDERS if os.access(folder, os.W_OK)), SHARED_FOLDERS[0])
    return Path(given or f"{shared}/bitfrontier-{os.getuid()}") / f"{name}.lock"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a run's folder, so that no two sweeps write into it. Raises RunBusy."""
    file = folder / "sweep.lock"
    try:
        with hold(file, wait=False):
            yield
    except Timeout as error:
        owner = holder(file)
        raise RunBusy(
            f"{folder} is being swept by process {owner.pid if owner else 'that just ended'}; "
            f"`bitfrontier status {folder}` shows how far it is"
        ) from error
