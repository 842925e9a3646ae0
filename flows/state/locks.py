"""Who works on what, told by locks: the kernel opens them when their holder dies, so no slot stays taken.

Locks of devices lie in one folder of the user, `bitfrontier-UID` in the first of SHARED_FOLDERS that may be written.
Not in $TMPDIR or $XDG_RUNTIME_DIR: two shells may have two of the first, cron and `su` set none of the second, which
is also deleted when its user logs out; two sweeps would measure on one device at the same time. Everybody may write
beside that folder, so it must be a folder of this user's, which nobody else may write into.

Users of one machine share no locks by default. With $BITFRONTIER_LOCKS in the environment of all of them, a folder of
mode 1777, they do: a lock's file belongs to who came first, others hold it by a descriptor that only reads, and who
holds it says the kernel (/proc/locks). Anybody may hold such a lock for as long as they like, and is named.

Wherever a lock's file lies (runs and caches are shared, too), it is opened and never a link in its place, and what is
written goes through that descriptor, into a file of this user's with no second name.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import pwd
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from engines.runtime.cache import cache_folder, create_cache
from evals.schema.run_file import check_no_links
from quant.errors import BitfrontierError, program

logger = logging.getLogger(__name__)

CACHE_LOCK = "cache.lock"
LOCKS_VARIABLE = "BITFRONTIER_LOCKS"
SHARED_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")  # of all processes of a machine, in this order
KERNEL_LOCKS = Path("/proc/locks")
POLL_SECONDS = 0.1  # asked again and again: a call that blocks could not be cancelled by Prefect
NO_LINK = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # nor a FIFO, at which opening would wait for ever

Waits = Callable[[str], None]  # is given for whom a lock is waited for, and then an empty text
NO_LOCK = "a link, a pipe or a folder instead of a lock file. Delete it"


class RunBusy(BitfrontierError):
    """Another process works on this run."""


class UnsafeLock(BitfrontierError):
    """A lock, or the folder of locks, that another user may have put there, or that nobody can hold."""

    exit_code = 2


@dataclass(frozen=True)
class Holder:
    """Who holds a lock: its process (0 where nobody knows), of which user, and since when (Unix seconds)."""

    pid: int
    since_seconds: float
    user: str = "unknown"

    def __str__(self) -> str:
        since = time.strftime("%H:%M", time.localtime(self.since_seconds))
        return f"PID {self.pid} of user {self.user} since {since}"


@contextmanager
def hold(file: Path, *, wait: bool = True, waits: Waits = lambda _: None) -> Iterator[None]:
    """Hold `file` until the block ends; the file says who does. It says for whom it waits, in the log and to `waits`.

    Raises UnsafeLock, and without `wait` BlockingIOError where somebody else holds it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with _opened(file) as descriptor:
        if not _take(file, descriptor, fcntl.LOCK_EX):
            time.sleep(POLL_SECONDS)  # whoever only looks (`holder`) is gone then
            if not _take(file, descriptor, fcntl.LOCK_EX):
                if not wait:
                    raise BlockingIOError(f"{file} is held")
                text = f"waiting for {_holder(descriptor)}, which holds {file}"
                logger.warning(text)
                waits(text)
                try:
                    while not _take(file, descriptor, fcntl.LOCK_EX):
                        time.sleep(POLL_SECONDS)
                finally:
                    waits("")
        _note_holder(descriptor)
        yield


def is_held(file: Path) -> bool:
    """True while a living process holds `file`. A process that asks for it in this very moment waits for a moment."""
    return holder(file) is not None


def holder(file: Path) -> Holder | None:
    """Who holds `file` now; None where nobody does."""
    try:
        descriptor = _open(file, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return None if _take(file, descriptor, fcntl.LOCK_SH) else _holder(descriptor)
    finally:
        os.close(descriptor)


def _take(file: Path, descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        words = f"{file} belongs to another user, and its file system (NFS) locks only what may be written"
        raise UnsafeLock(f"{words}. Set {LOCKS_VARIABLE} to a folder on a disk of this machine") from error
    return True


@contextmanager
def _opened(file: Path) -> Iterator[int]:
    """A lock's file, made if it is not there; of another user's, a descriptor that only reads. Raises UnsafeLock."""
    try:
        descriptor = _open(file, os.O_RDWR | os.O_CREAT)
    except PermissionError as error:  # a lock needs no more, and Linux refuses O_CREAT for others' files in /tmp
        try:
            descriptor = _open(file, os.O_RDONLY)
        except FileNotFoundError:
            raise UnsafeLock(f"{file} cannot be created: {error.strerror}. Make {file.parent} writable") from error
    try:
        _let_others_read(file, descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def _open(file: Path, flags: int) -> int:
    try:
        descriptor = os.open(file, flags | NO_LINK, 0o644)
    except OSError as error:
        if isinstance(error, PermissionError) and not flags & os.O_CREAT:
            remedy = f"Ask its owner for `chmod 644 {file}`, or to delete it"
            raise UnsafeLock(f"{file} is not readable: {error.strerror}. {remedy}") from error
        if error.errno not in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise
        raise UnsafeLock(f"{file} is {NO_LOCK}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnsafeLock(f"{file} is {NO_LOCK}")
    return descriptor


def _let_others_read(file: Path, descriptor: int) -> None:
    """In a folder that is shared on purpose others hold our lock too, whatever the umask of who made it."""
    status = os.fstat(descriptor)
    ours = status.st_uid == os.geteuid() and status.st_nlink == 1
    if ours and stat.S_IMODE(status.st_mode) != 0o644 and file.parent.stat().st_mode & stat.S_ISVTX:
        os.fchmod(descriptor, 0o644)


def _note_holder(descriptor: int) -> None:
    """Write who holds a lock into its file, if that is ours and has no other name."""
    status = os.fstat(descriptor)
    if status.st_uid == os.geteuid() and status.st_nlink == 1:
        record = Holder(os.getpid(), time.time(), _user_name(os.geteuid()))
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(record)).encode(), 0)


def _holder(descriptor: int) -> Holder:
    """What a lock's file says of its holder. The kernel's word for its process goes before, where it differs."""
    try:
        noted = Holder(**json.loads(os.pread(descriptor, 4096, 0)))
    except (ValueError, TypeError):  # it was taken just now and says nothing yet
        noted = Holder(0, time.time())
    pid = _locking_pid(os.fstat(descriptor).st_ino)
    if pid in (None, noted.pid):
        return noted
    try:
        process = psutil.Process(pid)
        # a record of somebody else: the lock was taken since this process began; none: another program's, of just now
        since = process.create_time() if noted.pid else noted.since_seconds
        return Holder(process.pid, since, process.username())
    except psutil.Error:
        return noted


def _locking_pid(inode: int) -> int | None:
    """The process that holds a file alone by `flock`; None where the kernel does not say."""
    try:
        lines = KERNEL_LOCKS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for _, kind, _, access, pid, place, *_ in map(str.split, lines):  # waiting ones have an arrow before their kind
        if (kind, access) == ("FLOCK", "WRITE") and place.endswith(f":{inode}") and int(pid) > 0:
            return int(pid)
    return None


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # usual in containers
        return str(uid)


@contextmanager
def cache_in_use() -> Iterator[None]:
    """Hold the cache together with all others who use it, so that nothing in it is freed meanwhile."""
    with _opened(create_cache() / CACHE_LOCK) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield


@contextmanager
def cache_alone() -> Iterator[None]:
    """Hold the cache alone. Raises RunBusy where somebody uses it."""
    with _opened(cache_folder() / CACHE_LOCK) as descriptor:
        if not _take(cache_folder() / CACHE_LOCK, descriptor, fcntl.LOCK_EX):
            raise RunBusy(
                f"{cache_folder()} is in use by a sweep or a quantization. Free the cache when they have ended"
            )
        yield


@contextmanager
def slots(names: Iterable[str], waits: Waits = lambda _: None) -> Iterator[None]:
    """Hold these devices, so that nobody else on this machine measures there, whatever cache folder they use."""
    with ExitStack() as held:
        for name in sorted(names):  # in one order for all, or two could wait for each other
            held.enter_context(hold(slot_lock(name), waits=waits))
        yield


def slot_lock(name: str) -> Path:
    """What whoever works on a device holds. Raises UnsafeLock."""
    return _device_locks() / f"{name}.lock"


def _device_locks() -> Path:
    """The folder of the devices' locks, made if it is not there. Raises UnsafeLock where others may swap what is in
    it; in a folder that is shared on purpose (mode 1777) nobody can.
    """
    given = os.environ.get(LOCKS_VARIABLE)
    shared = next((folder for folder in SHARED_FOLDERS if os.access(folder, os.W_OK)), SHARED_FOLDERS[0])
    # the user's own setting may be a link; what others may put beside our folder may not
    folder = Path(os.path.realpath(given) if given else f"{shared}/bitfrontier-{os.geteuid()}")
    remedy = f"Delete it, or set {LOCKS_VARIABLE} to a folder of yours"
    if not folder.is_symlink() and not folder.is_file():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISDIR(status.st_mode):
        raise UnsafeLock(f"{folder}, for the locks of devices, is a link or a file. {remedy}")
    if given and mode & stat.S_ISVTX:
        return folder
    if status.st_uid != os.geteuid():
        raise UnsafeLock(f"{folder}, for the locks of devices, belongs to user {_user_name(status.st_uid)}. {remedy}")
    if not given:  # older versions made it as the umask said
        folder.chmod(0o700)
    elif mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnsafeLock(
            f"{folder}, for the locks of devices, may be written by others (mode {mode:o}). `chmod 700 {folder}`, or "
            "`chmod 1777` if all users of this machine are to share them"
        )
    return folder


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a run's folder, so that no two sweeps write into it. Raises RunBusy, and LinkInRun."""
    file = folder / "sweep.lock"
    check_no_links(folder)
    try:
        with hold(file, wait=False):
            yield
    except BlockingIOError as error:
        owner = holder(file)
        raise RunBusy(
            f"{folder} is being swept by process {owner.pid if owner else 'that just ended'}; "
            f"`{program()} status {folder}` shows how far it is"
        ) from error
