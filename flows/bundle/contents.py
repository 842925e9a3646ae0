"""What a bundle says of itself (`bundle.json`), and whether its files are those that it names.

A bundle comes on a disk or from a share. So its names are checked before a file of it is opened, its hashes before one
is used, and nothing of it is loaded or run here. Hashes tell damage, not who made it: its wheels are installed later.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from engines.runtime.cache import cache_folder, create_cache
from flows.state.progress_display import Display
from quant.canonical_json import read_note, read_regular, write_json
from quant.checkpoints.safetensors import hash_file
from quant.errors import BitfrontierError, program, reading
from quant.hashing import digest

FORMAT = 1
BUNDLE_FILE = "bundle.json"
WHEELS, HUB, DATASETS, FILES = "wheels", "hub", "datasets", "files"
REQUIREMENTS = "bitfrontier.txt"  # of this program's own wheels
AGAIN = "Make or copy the bundle again"
SHA256 = r"^[0-9a-f]{64}$"


class BadBundle(BitfrontierError):
    """A folder that is no bundle, a damaged one, or one that was made for something else."""

    exit_code = 2


def _inside(path: str) -> str:
    """Raises ValueError where a name could lead out of the bundle's folder."""
    if not path or set(path) & set("\\\0") or any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError("it leads out of the folder")
    return path


Name = Annotated[str, Field(max_length=1000), AfterValidator(_inside)]
Sha256 = Annotated[str, Field(pattern=SHA256)]


class Strict(BaseModel):
    """A part of `bundle.json`; what a newer program notes beside it is not read."""

    model_config = ConfigDict(strict=True, frozen=True)


class BundledFile(Strict):
    """A file of the bundle, by its place in the folder."""

    path: Name
    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class BundledEnvironment(Strict):
    """An environment whose wheels are there: for which Python, and the digest of its pins."""

    python: str
    pins: Sha256


class Contents(Strict):
    """`bundle.json`. `base` is the folder in it that relative names of the plan start from. `tasks` are those whose
    data sets of the hub are there; `data` is what the plan says of its data.
    """

    format: int
    made: str
    version: str
    platform: str
    python: str
    plan: str
    plan_sha256: Sha256
    base: Name
    environments: dict[str, BundledEnvironment]
    data: str
    tasks: list[str]
    files: list[BundledFile]

    @property
    def machine(self) -> str:
        """For which machines its wheels are, in words: `linux x86_64 (glibc 2.28 or newer), Python 3.11`."""
        minor, architecture = glibc_and_architecture(self.platform)
        return f"linux {architecture} (glibc 2.{minor} or newer), Python {self.python}"


def glibc_and_architecture(platform: str) -> tuple[int, str]:
    """The parts of `manylinux_2_28_x86_64`. Raises BadBundle for what is no such tag."""
    match = re.fullmatch(r"manylinux_2_(\d{1,2})_(x86_64|aarch64)", platform)
    if match is None:
        raise BadBundle(
            f"platform {platform!r:.60} is no manylinux tag. Write manylinux_2_28_x86_64 or manylinux_2_28_aarch64"
        )
    return int(match[1]), match[2]


def read_contents(folder: Path) -> Contents:
    """What the bundle in `folder` says of itself; none of its files is opened. Raises BadBundle."""
    file = folder / BUNDLE_FILE
    if not file.is_file():
        fault = f"has no {BUNDLE_FILE}" if folder.is_dir() else "is no folder"
        raise BadBundle(f"{folder} {fault}. Give the folder that `{program()} bundle` made, its parts joined")
    with reading(file, BadBundle, AGAIN, "it is damaged"):
        document = json.loads(read_regular(file))
        if isinstance(document, dict) and document.get("format", FORMAT) != FORMAT:
            made_by = f"bitfrontier {document.get('version', '?')!s:.20}"
            raise BadBundle(f"{file}: format {document['format']!r:.20} of {made_by}; this program reads {FORMAT}")
        try:
            contents = Contents.model_validate(document)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise BadBundle(f"{file}: `{place}` is {first['input']!r:.60}: {first['msg']}. {AGAIN}") from error
    _ = contents.machine
    return contents


def check_files(folder: Path, contents: Contents, display: Display) -> None:
    """Hold every file to its size and hash. Those that did not change since are not read again.

    Raises BadBundle, naming the first file that is missing, damaged, a link, or not listed.
    """
    listed = {file.path: file for file in contents.files}
    for path in _entries(folder):
        if path not in listed and path != BUNDLE_FILE:
            raise BadBundle(f"{folder / path} is not listed in {BUNDLE_FILE}. Delete it, or copy the bundle again")
    stamps = {path: _stamp(folder, file) for path, file in listed.items()}
    record = cache_folder() / "bundles" / f"{digest([str(folder.resolve()), contents.model_dump()])[:32]}.json"
    known = read_note(record)
    unread = [file for path, file in listed.items() if known.get(path) != stamps[path]]
    if unread:
        total = sum(file.bytes for file in unread)
        advance = display.stage(f"checking {total / 1e9:.1f} GB of the bundle, in MB", total / 1e6)
        for file in unread:
            with reading(folder / file.path, BadBundle, AGAIN):
                sha256 = hash_file(folder / file.path)
            if sha256 != file.sha256:
                raise BadBundle(f"{folder / file.path} is damaged: its SHA-256 is not the one in the bundle. {AGAIN}")
            advance(file.bytes / 1e6)
        create_cache()
        record.parent.mkdir(exist_ok=True)
        write_json(record, stamps, compact=True)


def _entries(folder: Path) -> Iterator[str]:
    """All files below `folder`, by name. Raises BadBundle for a link, a pipe or a device."""
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise BadBundle(f"{path} is a link, a pipe or a device: a bundle holds files alone. {AGAIN}")
        if stat.S_ISREG(mode):
            yield path.relative_to(folder).as_posix()


def _stamp(folder: Path, file: BundledFile) -> list[int]:
    """Size, times and inode of a file; `tar` restores the time of the last change, and neither of the other two.
    Raises BadBundle where it is not there, or has another size.
    """
    with reading(folder / file.path, BadBundle, AGAIN, "is not there"):
        status = (folder / file.path).lstat()
    if status.st_size != file.bytes:
        raise BadBundle(f"{folder / file.path} is damaged: it has {status.st_size} bytes, of {file.bytes}. {AGAIN}")
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def listed_files(folder: Path, paths: Sequence[str]) -> list[BundledFile]:
    """Size and hash of these files of the folder."""
    return [
        BundledFile(path=path, bytes=(folder / path).stat().st_size, sha256=hash_file(folder / path)) for path in paths
    ]
