"""Reading trial files: JSON as `quant.canonical_json.write_json` writes it, back into records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from evals.schema.migrate import SCHEMA_VERSION, NewerSchema, migrate_trial
from evals.schema.trial import Failure, Trial
from quant.canonical_json import read_regular
from quant.errors import BitfrontierError, reading

TRIALS = TypeAdapter(Trial)
MOST_RESULT_BYTES = 2**30  # it holds raw samples; reading takes some four times as much memory
AGAIN = "Delete it and sweep again"


class UnreadableTrial(BitfrontierError, ValueError):
    """A trial's file is damaged or no trial; the message names it."""

    exit_code = 2


def read_trial(path: Path) -> Trial:
    """Read one trial file, of this or an older version. Raises UnreadableTrial or NewerSchema, naming the file."""
    try:
        with reading(path, UnreadableTrial, AGAIN, "it is damaged"):
            return _read(path)
    except NewerSchema as error:
        raise NewerSchema(f"{path}: {error}") from None


def _read(path: Path) -> Trial:
    text = read_regular(path, MOST_RESULT_BYTES)
    try:
        trial = TRIALS.validate_json(text)
        if trial.schema_version == SCHEMA_VERSION:
            return trial
    except ValidationError:
        pass
    raw = json.loads(text)
    if not isinstance(raw, dict):
        raise UnreadableTrial(f"{path}: {type(raw).__name__} in place of a trial. {AGAIN}")
    try:
        return TRIALS.validate_python(migrate_trial(raw), strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UnreadableTrial(f"{path}: it is damaged ({place}: {first['msg']}). {AGAIN}") from error


def unreadable_row(file: Path, error: UnreadableTrial, about: Mapping[str, Any]) -> Trial:
    """The failed row of a cell whose trial cannot be read, by what the run's description `about` notes of the cell."""
    cells: Sequence[Mapping[str, Any]] = about.get("cells") or ()
    cell = next((cell for cell in cells if cell["trial"] == file.name), {})
    *labels, last = str(cell.get("name", file.stem)).split(" · ")
    method, engine = (" · ".join(labels), last) if labels else (last, "")
    failure = Failure("other", str(error), f"{AGAIN}: this cell alone is measured", "")
    return Trial(
        key=file.stem,
        status="failed",
        reason=str(error),
        model=str(cell.get("model", "")),
        method=method,
        method_label=method,
        engine=engine,
        device=str(about.get("device", "")),
        checkpoint=None,
        failure=failure,
    )
