"""Checkpoints that were made to be served: no run tells of them, so they are kept until they are released."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.runtime.cache import cache_folder
from flows.state.ownership import RecordUnreadable, read_record
from quant.canonical_json import write_json
from quant.errors import BitfrontierError
from quant.types import Checkpoint


class NotKept(BitfrontierError):
    """No checkpoint of this name is kept."""

    exit_code = 2


@dataclass(frozen=True)
class KeptCheckpoint:
    """A checkpoint by the name of its folder, and what it is."""

    name: str
    label: str
    model: str

    @property
    def path(self) -> str:
        """Relative to the cache folder."""
        return f"checkpoints/{self.name}"


def keep(made: Checkpoint) -> None:
    """Keep it until `release`."""
    name = Path(made.folder).name
    _records().mkdir(parents=True, exist_ok=True)
    write_json(_records() / f"{name}.json", KeptCheckpoint(name, made.spec.label, made.model))


def list_kept() -> list[KeptCheckpoint]:
    """All that are kept and still there. Raises RecordUnreadable."""
    checkpoints = [_checkpoint_of(file) for file in sorted(_records().glob("*.json"))]
    return [checkpoint for checkpoint in checkpoints if (cache_folder() / checkpoint.path).is_dir()]


def _checkpoint_of(file: Path) -> KeptCheckpoint:
    record = read_record(file)
    fields = [record.get(name) for name in ("name", "label", "model")]
    if fields[0] != file.stem or not all(isinstance(value, str) for value in fields):
        raise RecordUnreadable(f"{file} is not the record of a kept checkpoint. Delete it if that is not needed")
    return KeptCheckpoint(*map(str, fields))


def release(name: str) -> KeptCheckpoint:
    """Let it go, by its folder or the folder's name. Raises NotKept."""
    checkpoints = {checkpoint.name: checkpoint for checkpoint in list_kept()}
    if Path(name).name not in checkpoints:
        raise NotKept(f"no checkpoint is kept under '{name}' (kept: {', '.join(checkpoints) or 'none'})")
    checkpoint = checkpoints[Path(name).name]
    (_records() / f"{checkpoint.name}.json").unlink()
    return checkpoint


def _records() -> Path:
    return cache_folder() / "kept"
