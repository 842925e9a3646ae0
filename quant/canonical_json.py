"""JSON that is the same bytes for the same data."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict
from pathlib import Path


def plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)  # type: ignore[call-overload]
    raise TypeError(f"{type(value).__name__} cannot be part of a key")


def write_json(path: Path, value: object) -> None:
    """Write `value` beside `path`, then rename: a reader sees all of it or nothing, also after a loss of power.

    Raises OSError with the file.
    """
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")  # two writers never share one
    text = json.dumps(value, indent=1, default=plain, ensure_ascii=False) + "\n"
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:  # a full disk's error does not name the file
        partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(partial)) from error
    partial.replace(path)
