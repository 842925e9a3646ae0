"""Reading trial files: JSON as `quant.spec.write_json` writes it, back into records."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter

from evals.record import TRIAL_SCHEMA_VERSION, Trial

TRIALS = TypeAdapter(Trial)


def read_trial(path: Path) -> Trial:
    """Read one trial file. Raises ValueError naming the file where it is not one of this schema version."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    version = raw.get("schema_version")
    if version != TRIAL_SCHEMA_VERSION:
        raise ValueError(f"{path}: schema version {version}, this program reads {TRIAL_SCHEMA_VERSION}")
    return TRIALS.validate_python(raw)
