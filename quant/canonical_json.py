"""Files that appear whole or not at all, reading files of others, and JSON that is the same bytes for the same data.

`scripts/unsafe_writes.py` holds every other module to it: what is written goes through `whole_file`, logs through
`open_to_append`. Neither ever writes through a link, which a run from somebody else may hold in the place of a file.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

PARTIAL = re.compile(r"\.[0-9a-f]{16}\.partial$")  # ends the name of a file that is being written (`whole_file`)


def plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)  # type: ignore[call-overload]
    raise TypeError(f"{type(value).__name__} cannot be part of a key")


def finite(value: object) -> object:
    """`value` with None for each number in it that is infinite or none: JSON (RFC 8259) has no such numbers."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value


def json_text(value: object) -> str:
    """JSON for scripts of any language: an interval's end without bound is null."""
    return json.dumps(finite(value), indent=1, allow_nan=False)


@contextmanager
def whole_file(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """Write a file beside `path`, under a name that nobody can guess, and rename it when the block ends: a reader sees
    all of it or nothing, two writers never share one, and a link in its place is replaced, not followed.

    `durable`: on the disk before it is renamed, and its new name on the disk when this returns: for a record that
    decides what is done again after a loss of power. The folder takes 0.15 ms of it.
    Raises OSError with the file.
    """
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}.partial")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(partial, flags, 0o666), "wb") as file:  # 0o666: the user's umask takes away what it forbids
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        partial.replace(path)
        if durable:
            _sync_folder(path.parent)
    except OSError as error:  # a full disk's error does not name the file
        if error.errno is None:  # a library's own, which says more
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk. Not every file system (FUSE, network) can; the files are there then."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


MOST_BYTES = 2**28  # of a file that is read at once
# of a file that is there and whole: no rights, or a disk, a share or a process that fails
READ_LATER = (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE)


def open_regular(path: Path, most_bytes: int = MOST_BYTES) -> BufferedReader:
    """Open a regular file, or one that a link leads to: a pipe or a device would be waited for, or never end.

    Raises OSError with the file, also where the path is none or the file is larger than `most_bytes`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # a NUL, or half a surrogate pair
        raise OSError(errno.EINVAL, f"no path ({error})", str(path)) from error
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size <= most_bytes:
        return open(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    raise OSError(errno.EFBIG, f"it has {status.st_size} bytes (at most {most_bytes})", str(path))


def read_regular(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """The content of a file that `open_regular` opens. Raises OSError with the file."""
    with open_regular(path, most_bytes) as file:
        return file.read(most_bytes)


def read_note(file: Path) -> dict[str, Any]:
    """What a note of ours in the cache says; nothing where there is none or a damaged one: it is made again."""
    try:
        note = json.loads(read_regular(file))
    except (OSError, ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def with_home(text: str) -> Path:
    """`text` as a path, with the home in the place of `~` or `~user` at its beginning."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no such user, or no home
        return Path(text)


def named_path(base: Path, text: str) -> Path:
    """The absolute path that others call `text`, relative to `base`. Of one that the system takes for none (too long,
    half a surrogate pair, a link to itself) the first characters, where nothing is either.
    """
    try:
        path = (base / with_home(text)).resolve()
        path.stat()
    except FileNotFoundError:
        return path
    except (OSError, ValueError, RuntimeError):
        return base.absolute() / ascii(text[:60]).strip("'")
    return path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write `content` (text as UTF-8) as `whole_file` does. Raises OSError with the file."""
    with whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, value: object, *, compact: bool = False) -> None:
    """Write `value` as `whole_file` does; it is there also after a loss of power. Raises OSError with the file.

    `compact`: without spaces, for raw samples, of which there are millions.
    """
    spaces: dict[str, Any] = {"separators": (",", ":")} if compact else {"indent": 1}
    text = json.dumps(value, default=plain, ensure_ascii=False, **spaces) + "\n"
    with whole_file(path, durable=True) as file:
        file.write(text.encode())


def open_to_append(path: Path) -> BinaryIO:
    """Open a log, to which several processes may append. Raises OSError where a link (ELOOP) or a pipe (ENXIO), which
    would be waited for, is in its place. A file with a second name, under which it may be anything, such as a backup's,
    is left to that one, and a new one begun.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o666)
    status = os.fstat(descriptor)
    if stat.S_ISFIFO(status.st_mode):  # with a reader, it opens
        os.close(descriptor)
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), str(path))
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
        os.close(descriptor)
        path.unlink()
        descriptor = os.open(path, flags | os.O_EXCL, 0o666)
    os.set_blocking(descriptor, True)  # children write into it, and some file systems would let them try again
    return open(descriptor, "ab")
