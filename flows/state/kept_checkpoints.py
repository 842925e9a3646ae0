"""Checkpoints that were made to be served: no run tells of them, so they are kept until they are released."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.runtime.environments import cache_folder
from flows.state.ownership import read_record
from quant.canonical_json import write_json
from quant.errors import Told
from quant.types import Checkpoint


class NotKept(Told):
    """No checkpoint of this name is kept."""

    exit_code = 2


@dataclass(frozen=True)
class Kept:
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
    write_json(_records() / f"{name}.json", Kept(name, made.spec.label, made.model))


def kept() -> list[Kept]:
    """All that are kept and still there. Raises RecordUnreadable."""
    records = [read_record(file) for file in sorted(_records().glob("*.json"))]
    found = [Kept(*(str(one.get(name)) for name in ("name", "label", "model"))) for one in records]
    return [one for one in found if (cache_folder() / one.path).is_dir()]


def release(name: str) -> Kept:
    """Let it go, by its folder or the folder's name. Raises NotKept."""
    found = kept()
    one = next((one for one in found if one.name == Path(name).name), None)
    if one is None:
        names = ", ".join(one.name for one in found) or "none"
        raise NotKept(f"no checkpoint is kept under '{name}' (kept: {names})")
    (_records() / f"{one.name}.json").unlink()
    return one


def _records() -> Path:
    return cache_folder() / "kept"
