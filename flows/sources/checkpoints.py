"""Checkpoints that a plan names as a method's parameter: where they are, and the digest of what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
    import httpx2  # the hub client's own: its errors are neither OSErrors nor RuntimeErrors
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = text.partition("@")
    wanted = {"repo_id": name, "filename": "config.json", "revision": revision or None}
    try:
        return Path(hf_hub_download(**wanted, local_files_only=True)).parent
    except HFValidationError as error:
        raise SourceError(f"'{name}' is not a hub name", "write hub:organisation/name") from error
    except LocalEntryNotFoundError:
        pass
    try:
        HfApi().model_info(name, revision=revision or None, timeout=2)  # a download asks again for 23 s before it fails
        return Path(hf_hub_download(**wanted)).parent
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        raise SourceError(
            f"hub checkpoint '{name}' is not in the local cache and the hub gave no config.json of it",
            "download it where there is a network, and give its folder",
        ) from error


def fetch_stored(stored: StoredCheckpoint) -> None:
    """Bring the rest of a hub's checkpoint here. Raises what the hub's client raises."""
    if not stored.text.startswith("hub:"):
        return
    from huggingface_hub import snapshot_download

    name, _, revision = stored.text.removeprefix("hub:").partition("@")
    snapshot_download(name, revision=revision or None, allow_patterns=list(STORED_FILES))


def contents(stored: Mapping[str, StoredCheckpoint]) -> dict[str, str]:
    """The digest of each parameter's checkpoint."""
    return {
        name: content_sha256(checkpoint.folder, regular_files(checkpoint.folder, STORED_FILES))
        for name, checkpoint in stored.items()
    }
