"""Checkpoints that a plan names as a method's parameter: where they are, and the digest of what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.sources import hub
from flows.sources.hub import Repository
from flows.sources.models import content_sha256
from flows.sources.samples import SourceError
from quant.canonical_json import named_path
from quant.checkpoints.model_files import STORED_FILES, regular_files
from quant.checkpoints.safetensors import CheckpointError


@dataclass(frozen=True)
class StoredCheckpoint:
    """`text` is what the plan says, `folder` where it is (of a hub's, at first, only the configuration)."""

    text: str
    folder: Path


def find_stored(text: str, base: Path) -> StoredCheckpoint:
    """The checkpoint called `text`; folders are relative to `base`. Raises SourceError."""
    if text.startswith("hub:"):
        return StoredCheckpoint(text, _hub_folder(text.removeprefix("hub:")))
    folder = named_path(base, text)
    if not folder.is_dir():
        raise SourceError(f"checkpoint folder {folder} does not exist", "give a folder or `hub:organisation/name`")
    try:
        regular_files(folder, STORED_FILES)
    except CheckpointError as error:
        raise SourceError(f"checkpoint folder {folder}: {error}", "copy or download the checkpoint again") from error
    return StoredCheckpoint(text, folder)


def _hub_folder(text: str) -> Path:
    """The hub's folder with at least the configuration in it, from the local cache where it is there."""
    repository = Repository(text, "checkpoint")
    folder, _ = hub.cached(repository, ["config.json"])
    if folder is not None and (folder / "config.json").exists():
        return folder
    hub.require_online(repository)
    if "config.json" not in hub.file_sizes(repository):
        raise SourceError(f"{repository} has no config.json", "give a checkpoint whose configuration says its format")
    return hub.fetch(repository, ["config.json"])


def fetch_stored(stored: StoredCheckpoint) -> None:
    """Bring the rest of a hub's checkpoint here. Raises SourceError."""
    if not stored.text.startswith("hub:"):
        return
    repository = Repository(stored.text.removeprefix("hub:"), "checkpoint")
    folder, complete = hub.cached(repository, STORED_FILES)
    if folder is None or not complete:
        hub.require_online(repository, in_part=True)
        hub.fetch(repository, STORED_FILES)


def contents(stored: Mapping[str, StoredCheckpoint]) -> dict[str, str]:
    """The digest of each parameter's checkpoint."""
    return {
        name: content_sha256(checkpoint.folder, regular_files(checkpoint.folder, STORED_FILES))
        for name, checkpoint in stored.items()
    }
