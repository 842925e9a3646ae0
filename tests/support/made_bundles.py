"""Bundles with made-up files, and the machine that they are for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engines.runtime.installing.pythons import OWN
from flows.bundle.contents import BUNDLE_FILE, FORMAT, listed_files
from flows.bundle.targets import target_of
from quant.canonical_json import write_json


def write_bundle(folder: Path, files: dict[str, bytes], **changes: Any) -> Path:
    """A bundle for this machine that holds these files; `changes` are other values of its keys."""
    folder.mkdir()
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    document = {
        "format": FORMAT,
        "made": "2026-11-28T10:00:00+00:00",
        "version": "0.1.0",
        "platform": target_of(None, None).platform,
        "python": OWN,
        "plan": "made-up",
        "plan_sha256": "0" * 64,
        "base": "files",
        "environments": {},
        "data": "hub",
        "tasks": [],
        "files": [file.model_dump() for file in listed_files(folder, sorted(files))],
    }
    write_json(folder / BUNDLE_FILE, {**document, **changes})
    return folder
