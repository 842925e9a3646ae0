"""The JSON Schema of a trial file, for tools of others: `python -m reports.output.trial_schema` writes
reports/output/trial.schema.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evals.schema.migrate import SCHEMA_VERSION
from evals.schema.trial_file import TRIALS
from quant.canonical_json import write_whole

FILE = Path(__file__).with_name("trial.schema.json")
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def trial_schema() -> dict[str, Any]:
    """Made of the records, whose field names carry the units."""
    made = TRIALS.json_schema()
    made["properties"]["schema_version"] = {"const": SCHEMA_VERSION}
    return {"$schema": DIALECT, **made, "required": [*made["required"], "schema_version"]}


def as_text() -> str:
    return json.dumps(trial_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write_whole(FILE, as_text())
