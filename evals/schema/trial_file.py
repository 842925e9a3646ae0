"""Reading trial files: JSON as `quant.canonical_json.write_json` writes it, back into records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from evals.schema.trial import TRIAL_SCHEMA_VERSION, Trial

TRIALS = TypeAdapter(Trial)


def read_trial(path: Path) -> Trial:
    """Read one trial file. Raises ValueError naming the file where it is not one of this schema version."""
    text = path.read_bytes()
    try:
        trial = TRIALS.validate_json(text)
    except ValidationError as error:
        _check_version(path, json.loads(text).get("schema_version"))
        raise ValueError(f"{path}: {error}") from error
    _check_version(path, trial.schema_version)
    return trial


def _check_version(path: Path, version: Any) -> None:
    if version != TRIAL_SCHEMA_VERSION:
        raise ValueError(f"{path}: schema version {version}, this program reads {TRIAL_SCHEMA_VERSION}")
