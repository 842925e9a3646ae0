"""Records without keys: what programs and servers said in them is redacted before a file or a reader has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, replace
from typing import Any, TypeVar

from engines.redaction import redacted_texts
from evals.schema.part import Part
from evals.schema.trial import Failure, Gate, Trial

Record = TypeVar("Record", Trial, Part)
FROM_OUTSIDE = ("reason", "facts", "measured", "provenance")  # those of them that a record has
IDENTITY = frozenset({"engine_options", "models", "name", "trials"})  # what cells and runs are told apart and found by


def without_secrets(record: Record) -> Record:
    """The same record, its texts from outside redacted: facts, gates' details, where it was measured, why it failed."""
    texts: dict[str, Any] = {
        name: redacted_texts(getattr(record, name)) for name in FROM_OUTSIDE if hasattr(record, name)
    }
    if isinstance(record, Trial):
        texts["provenance"] = described_without_secrets(record.provenance)
    texts["gates"] = tuple(Gate(gate.name, gate.passed, redacted_texts(gate.detail)) for gate in record.gates)
    if isinstance(record, Trial) and record.failure:
        texts["failure"] = Failure(*redacted_texts(astuple(record.failure)))
    return replace(record, **texts)


def described_without_secrets(description: Mapping[str, Any]) -> dict[str, Any]:
    """A run's own description or a trial's provenance, redacted; what is an identity in it stays as it is."""
    return {name: value if name in IDENTITY else redacted_texts(value) for name, value in description.items()}
