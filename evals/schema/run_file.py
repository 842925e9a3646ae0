"""Reading `sweep.json`: what a run says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evals.schema.migrate import NewerSchema, migrate_run
from quant.errors import BitfrontierError

RUN_FILE = "sweep.json"


class NoRun(BitfrontierError):
    """A folder that holds no run, or a damaged one."""

    exit_code = 2


class LinkInRun(BitfrontierError):
    """A run's folder holds a symbolic link, through which its files would be written elsewhere."""

    exit_code = 2


def check_no_links(folder: Path) -> None:
    """Raises LinkInRun where an entry of a run's folder, or of a folder in it, is a symbolic link.

    A run may come from somebody else, who would choose which file of ours the report or a log is written into.
    """
    for pattern in ("*", "*/*"):  # whoever writes does so here; `pathlib` lists a folder that is a link, the first goes
        for entry in folder.glob(pattern):
            if entry.is_symlink():
                raise LinkInRun(
                    f"{entry} is a symbolic link: what a run writes would be written outside of its folder. Delete it, "
                    "or put what it points to in its place"
                )


def read_run(folder: Path) -> dict[str, Any]:
    """A run's `sweep.json`, of this or an older program. Raises NoRun, or NewerSchema, naming the file."""
    file = folder / RUN_FILE
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        state = f"has no {RUN_FILE}" if folder.is_dir() else "is a file" if folder.exists() else "does not exist"
        raise NoRun(f"{folder} {state}; give a run's folder, such as runs/quickstart") from error
    except (OSError, ValueError) as error:
        raise NoRun(f"{file}: it is damaged ({error}). Sweep its plan again") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("trials"), list):
        raise NoRun(f"{file}: it names no trials, so it is not a run's. Give a run's folder, such as runs/quickstart")
    try:
        return migrate_run(raw)
    except NewerSchema as error:
        raise NewerSchema(f"{file}: {error}") from None
