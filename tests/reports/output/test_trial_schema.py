"""The JSON Schema of trial files is that of the records, and real trial files keep it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, ValidationError

from quant.canonical_json import write_json
from reports.output.trial_schema import FILE, as_text, trial_schema
from tests.support.made_trials import failed, trial


def test_the_file_is_in_step() -> None:
    assert FILE.read_text(encoding="utf-8") == as_text(), "run `python -m reports.output.trial_schema`"


def test_what_is_written_keeps_it(tmp_path: Path) -> None:
    checks = Draft202012Validator(trial_schema())
    Draft202012Validator.check_schema(trial_schema())
    for result in (trial("none", 10, 1.0, 60), failed("rtn", "no luck")):
        write_json(tmp_path / "trial.json", result)
        written = json.loads((tmp_path / "trial.json").read_text())
        checks.validate(written)
        with pytest.raises(ValidationError, match="is not one of"):
            checks.validate({**written, "status": "fine"})
        with pytest.raises(ValidationError, match="'key' is a required property"):
            checks.validate({name: value for name, value in written.items() if name != "key"})
        with pytest.raises(ValidationError, match="was expected"):
            checks.validate({**written, "schema_version": 1})
