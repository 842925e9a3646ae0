"""What in the cache folder bitfrontier itself made: known by the form of its name and by our own record in it.

`models`, `data` and `checkpoints` are usual names on a disk for machine learning, where the cache may have been moved
to. What cannot be proved to be ours is somebody else's; what lies behind a link is, too.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.runtime.cache import cache_folder
from engines.runtime.environments import BUILDING, READY
from engines.runtime.own_packages import COPY_RECORD
from flows.sources.models import DATA_RECORD, MODEL_RECORD
from quant.canonical_json import read_regular
from quant.errors import BitfrontierError, reading
from quant.types import CHECKPOINT_RECORD, PARTIAL_RECORD


class RecordUnreadable(BitfrontierError):
    """A record of ours cannot be read, so that nobody knows what is needed."""

    exit_code = 2


UNREADABLE = "Nothing is freed. Restore it, or delete it if its run or checkpoint is no longer needed"


@dataclass(frozen=True)
class Form:
    """A kind of folder that we make: its name, the record in it, and whether that record speaks of this name."""

    name: str
    record: str
    agrees: Callable[[Mapping[str, Any], re.Match[str]], bool]


def _by_key(record: Mapping[str, Any], name: re.Match[str]) -> bool:
    return str(record.get("key")).startswith(name["id"])


def _by_pins(record: Mapping[str, Any], name: re.Match[str]) -> bool:
    return record.get("pins") == f"{name['name']}.txt"


def _by_wheel(record: Mapping[str, Any], name: re.Match[str]) -> bool:
    return str(record.get("wheel_sha256")).startswith(name["id"])


KEY, NAMED = "(?P<id>[0-9a-f]{32})", "(?P<name>.+)-(?P<id>[0-9a-f]{12})"
FORMS = {
    "checkpoints": (Form(KEY, CHECKPOINT_RECORD, _by_key), Form(KEY + r"\.partial", PARTIAL_RECORD, _by_key)),
    "environments": (Form(NAMED, READY, _by_pins), Form(NAMED, BUILDING, _by_pins)),
    "models": (Form(NAMED + r"(\.partial)?", MODEL_RECORD, _by_wheel),),
    "packages": (Form(KEY, COPY_RECORD, _by_key),),
    "data": (Form(NAMED + r"(\.partial)?", DATA_RECORD, _by_wheel),),
}


def made_here() -> Iterator[Path]:
    """Folders, half-written ones too, and files of kept answers. Raises RecordUnreadable."""
    for kind, forms in FORMS.items():
        for path in _entries(kind):
            if path.is_dir() and any(_is(path, form) for form in forms):
                yield path
    yield from (path for path in _entries("answers") if _holds_answers(path))


def _entries(kind: str) -> list[Path]:
    folder = cache_folder() / kind
    return [] if folder.is_symlink() else [path for path in sorted(folder.glob("*")) if not path.is_symlink()]


def _is(path: Path, form: Form) -> bool:
    name, record = re.fullmatch(form.name, path.name), path / form.record
    return name is not None and record.is_file() and not record.is_symlink() and form.agrees(read_record(record), name)


def _holds_answers(path: Path) -> bool:
    if not re.fullmatch(KEY + r"\.sqlite", path.name) or not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            columns = [row[1] for row in database.execute("PRAGMA table_info(answers)")]
    except sqlite3.DatabaseError:
        return False
    return columns == ["key", "value"]


def read_record(file: Path) -> Mapping[str, Any]:
    """A record of ours. Raises RecordUnreadable, which names the file."""
    with reading(file, RecordUnreadable, UNREADABLE):
        document = json.loads(read_regular(file))
        if not isinstance(document, dict):
            raise RecordUnreadable(f"{file}: it holds a {type(document).__name__}, not a record. {UNREADABLE}")
        return document
