from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from evals.schema.part import Part
from evals.schema.secrets_hidden import without_secrets
from evals.schema.trial import Failure, Gate
from tests.support.made_trials import failed


def test_no_text_from_outside_holds_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEIR_TOKEN", "planted-1")
    facts = {"version": "planted-1", "nested": [{"more": "http://me:planted-2@host"}], "bytes": 7}
    gates = (Gate("golden prompt", True, "Bearer planted-3"),)
    failure = Failure("other", "it refused planted-1", "ask again", "log: planted-1")
    trial = replace(
        failed("fp16", "refused planted-1"), facts=facts, provenance={"attached": facts}, gates=gates, failure=failure
    )
    part = Part("key", "gates", {}, measured={"attached_server": "id planted-1"}, gates=gates, facts=facts)
    for record in (trial, part):
        clean = without_secrets(record)
        assert "planted" not in json.dumps(asdict(clean))
        assert clean.facts == {"version": "(hidden)", "nested": [{"more": "http://(hidden)@host"}], "bytes": 7}
        assert replace(clean, facts={}, gates=()).key == record.key
        assert without_secrets(clean) == clean
