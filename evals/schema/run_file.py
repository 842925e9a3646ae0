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
