"""A bundle cut into parts of a size that a disk or a share takes, to be joined by `cat` and `tar` alone."""

from __future__ import annotations

import glob
import hashlib
import re
import shlex
import sys
import tarfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, cast

from flows.bundle.contents import BUNDLE_FILE, BadBundle, Contents
from flows.state.progress_display import Display
from quant.canonical_json import open_regular, whole_file, write_whole

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
LEAST_BYTES, MOST_PARTS = 1_000_000, 1000
SUMS = "SHA256SUMS"  # as `sha256sum --check` reads it


def size_of(text: str) -> int:
    """The bytes of `2GB`, `700M` or `100000000`. Raises BadBundle."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,3})?) ?([KMGT]?)B?", text.strip().upper())
    size = int(float(match[1]) * UNITS[match[2]]) if match else 0
    if size < LEAST_BYTES:
        raise BadBundle(f"--split {text:.40}: it is no size of at least 1MB. Write it as 2GB or 700MB")
    return size


def split(folder: Path, contents: Contents, part_bytes: int, display: Display) -> Path:
    """Write the bundle as parts of at most `part_bytes` into a folder beside it, with their hashes; equal bundles give
    equal parts. Raises BadBundle where there would be too many.
    """
    total = sum(file.bytes for file in contents.files)
    if total // part_bytes >= MOST_PARTS:
        fix = f"Give --split at least {total // MOST_PARTS / 1e6 + 1:.0f}MB"
        raise BadBundle(f"{total / 1e9:.1f} GB in parts of {part_bytes} bytes are over {MOST_PARTS} parts. {fix}")
    place = folder.with_name(f"{folder.name}.parts")
    place.mkdir(exist_ok=True)
    for left in [*place.glob(f"{glob.escape(folder.name)}.tar.*"), place / SUMS]:
        left.unlink(missing_ok=True)
    advance = display.overall("parts, in MB", total / 1e6)
    with (
        _Parts(place / f"{folder.name}.tar", part_bytes) as parts,
        tarfile.open(fileobj=cast(Any, parts), mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in [BUNDLE_FILE, *sorted(file.path for file in contents.files)]:
            with open_regular(folder / path, sys.maxsize) as file:
                entry = tarfile.TarInfo(f"{folder.name}/{path}")
                entry.size = (folder / path).stat().st_size
                archive.addfile(entry, file)
                advance(entry.size / 1e6)
    write_whole(place / SUMS, "".join(f"{sha256}  {name}\n" for name, sha256 in parts.sums.items()))
    return place


def how_to_join(folder: Path) -> list[str]:
    """What joins the parts, in their folder, where there is no bitfrontier yet."""
    return [f"sha256sum --check {SUMS}", f"cat {shlex.quote(f'{folder.name}.tar.')}* | tar -x"]


class _Parts:
    """A stream that goes on in another file when one is full. `sums` are the SHA-256 of those that are whole."""

    def __init__(self, stem: Path, part_bytes: int) -> None:
        self._stem, self._part_bytes, self._room = stem, part_bytes, 0
        self._open, self._hash = ExitStack(), hashlib.sha256()
        self._part: BinaryIO | None = None
        self.sums: dict[str, str] = {}

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._part is not None:
            self.sums[self._name] = self._hash.hexdigest()
            self._part = None
            self._open.__exit__(*error)  # a part that an error cut off is no file

    @property
    def _name(self) -> str:
        return f"{self._stem.name}.{len(self.sums):03d}"

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        while rest:
            if self._part is None or self._room == 0:
                self.__exit__(None, None, None)
                self._hash, self._room = hashlib.sha256(), self._part_bytes
                self._part = self._open.enter_context(whole_file(self._stem.with_name(self._name)))
            piece, rest = rest[: self._room], rest[self._room :]
            self._part.write(piece)
            self._hash.update(piece)
            self._room -= len(piece)
        return len(data)
