"""Names of models that differ: reports pair a cell with its baseline by the model's name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from flows.sources.model_facts import ModelFacts

MOST_PARTS = 64  # of a folder's path in a name


def with_distinct_names(models: Sequence[ModelFacts]) -> list[ModelFacts]:
    """The models under names that differ: reports pair a cell with its baseline by the model's name.

    Whose short names are equal gets the organisation, the revision, or as many parent folders as it takes.
    """
    names, length = [facts.name for facts in models], 1
    while clashing := {name for name in names if names.count(name) > 1}:
        length += 1
        longer = [
            _longer_name(facts, length) if name in clashing else name for facts, name in zip(models, names, strict=True)
        ]
        if longer == names and length > MOST_PARTS:  # the same place twice, which a plan may not say
            break
        names = longer
    return [replace(facts, name=name) for facts, name in zip(models, names, strict=True)]


def _longer_name(facts: ModelFacts, length: int) -> str:
    if facts.kind == "folder":
        return str(Path(*Path(facts.location).parts[-length:]))
    return facts.location if facts.kind == "hub" else f"pypi:{facts.location}"
