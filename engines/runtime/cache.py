"""The cache folder: where it is, and the tag in it that says that it is ours."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import platformdirs

from quant.canonical_json import read_regular, with_home, write_whole
from quant.errors import BitfrontierError, reading

VARIABLE = "BITFRONTIER_CACHE"
TAG = "CACHEDIR.TAG"  # https://bford.info/cachedir/: programs that make backups leave such folders out
TAG_SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55"
TAG_LINE = "# The cache folder of bitfrontier; `bitfrontier gc` frees nothing in a folder that does not say so."


class NotWritable(BitfrontierError):
    """A folder that work would go to cannot be made or written."""

    exit_code = 2


def cache_folder() -> Path:
    """Where environments, models, data and checkpoints are kept: $BITFRONTIER_CACHE or the user's cache folder."""
    return with_home(os.environ.get(VARIABLE) or platformdirs.user_cache_dir("bitfrontier")).absolute()


def absolute_cache() -> Path:
    """The cache folder, where it is or can be made. Raises NotWritable: its path may be too long, or a file's."""
    folder = cache_folder()
    try:
        if not folder.exists() or folder.is_dir():
            return folder
        fault = "is a file"
    except OSError as error:
        fault = str(error.strerror)
    raise NotWritable(f"{VARIABLE} names {str(folder)[:300]}: {fault}. Set it to a folder that you may write to")


def create_cache() -> Path:
    """The cache folder, made and marked as ours if it was not there; one that held other files first is not marked.

    Raises NotWritable.
    """
    folder = cache_folder()
    require_writable(folder, f"Set {VARIABLE} to a folder that you may write to")
    if not any(folder.iterdir()):
        mark_cache()
    return folder


def require_writable(folder: Path, remedy: str) -> None:
    """Make a folder that work goes to, and try it. Raises NotWritable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # which the command line explains
            raise
        raise NotWritable(f"{folder.absolute()} cannot be written: {error.strerror}. {remedy}.") from error


def mark_cache() -> None:
    """Say in the cache folder's tag that it is ours."""
    tag = cache_folder() / TAG
    with reading(tag, NotWritable, "Delete it"):
        text = read_regular(tag).decode().rstrip("\n") if tag.exists() else TAG_SIGNATURE
        write_whole(tag, f"{text}\n{TAG_LINE}\n")


def is_marked() -> bool:
    """True if the cache folder's tag says that it is ours."""
    try:
        return TAG_LINE in read_regular(cache_folder() / TAG).decode(errors="replace").splitlines()
    except OSError:
        return False


def uv_variables() -> dict[str, str]:
    """A cache folder for uv in ours, where its own cannot be written: a home may be read-only."""
    own = Path(platformdirs.user_cache_dir("uv"))
    there = next(folder for folder in (own, *own.parents) if os.access(folder, os.F_OK))
    if "UV_CACHE_DIR" in os.environ or os.access(there, os.W_OK):
        return {}
    return {"UV_CACHE_DIR": str(create_cache() / "uv")}
