"""Reading trial files: JSON as `quant.canonical_json.write_json` writes it, back into records."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from evals.schema.migrate import SCHEMA_VERSION, NewerSchema, migrate_trial
from evals.schema.trial import Trial
from quant.errors import BitfrontierError

TRIALS = TypeAdapter(Trial)


class UnreadableTrial(BitfrontierError, ValueError):
    """A trial's file is damaged or no trial; the message names it."""

    exit_code = 2


def read_trial(path: Path) -> Trial:
    """Read one trial file, of this or an older version. Raises UnreadableTrial or NewerSchema, naming the file."""
    text = path.read_bytes()
    try:
        trial = TRIALS.validate_json(text)
    except ValidationError:
        return _migrated(path, text)
    return trial if trial.schema_version == SCHEMA_VERSION else _migrated(path, text)


def _migrated(path: Path, text: bytes) -> Trial:
    try:
        raw = json.loads(text)
        if not isinstance(raw, dict):
            raise UnreadableTrial(f"{path}: {type(raw).__name__} in place of a trial. Delete it and sweep again")
        return TRIALS.validate_python(migrate_trial(raw), strict=False)
    except NewerSchema as error:
        raise NewerSchema(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, UnreadableTrial):
            raise
        raise UnreadableTrial(f"{path}: it is damaged ({_short(error)}). Delete it and sweep again") from error


def _short(error: Exception) -> str:
    """The first thing that is wrong, in a line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return f"{type(error).__name__}: {error}"
