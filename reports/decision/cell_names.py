"""Names under which cells of one engine with different options are told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engines.option_labels import option_labels
from evals.schema.trial import Trial


def told_apart(trials: Sequence[Trial]) -> list[Trial]:
    """The trials with the options in their names that differ among these: others may have been there when one of them
    was measured.
    """
    labels = option_labels([(one.engine, one.engine_options) for one in trials])
    pairs = zip(trials, labels, strict=True)
    return [one if one.engine_label == label else replace(one, engine_label=label) for one, label in pairs]
