from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from evals.schema.part import Part
from evals.schema.secrets_hidden import described_without_secrets, without_secrets
from evals.schema.trial import Failure, Gate
from tests.support.made_trials import failed, trial


def test_no_text_from_outside_holds_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEIR_TOKEN", "planted-1")
    facts = {"version": "planted-1", "nested": [{"more": "http://me:planted-2@host"}], "bytes": 7}
    gates = (Gate("golden prompt", True, "Bearer planted-3"),)
    failure = Failure("other", "it refused planted-1", "ask again", "log: planted-1")
    refused = replace(
        failed("fp16", "refused planted-1"), facts=facts, provenance={"attached": facts}, gates=gates, failure=failure
    )
    part = Part("key", "gates", {}, measured={"attached_server": "id planted-1"}, gates=gates, facts=facts)
    for record in (refused, part):
        clean = without_secrets(record)
        assert "planted" not in json.dumps(asdict(clean))
        assert clean.facts == {"version": "(hidden)", "nested": [{"more": "http://(hidden)@host"}], "bytes": 7}
        assert replace(clean, facts={}, gates=()).key == record.key
        assert without_secrets(clean) == clean


@pytest.mark.parametrize("option", ["--stop-token=", "--some-password=x"])
def test_entries_of_an_engine_stay_apart(option: str) -> None:
    entries = [
        replace(trial("none", 10, 2.0, 80), provenance={"engine_options": {"arguments": [f"{option}{number}"]}})
        for number in (5, 7)
    ]
    servers = [without_secrets(entry).server for entry in entries]
    assert servers == [entry.server for entry in entries]
    assert servers[0] != servers[1]


def test_a_run_s_name_models_and_trials_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY_ID", "planted-1")
    identity = {"name": "planted-1", "models": ["planted-1"], "trials": ["planted-1.json"]}
    assert described_without_secrets({**identity, "notes": ["planted-1"]}) == {**identity, "notes": ["(hidden)"]}
