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
    labels = option_labels([(trial.engine, trial.engine_options) for trial in trials])
    pairs = zip(trials, labels, strict=True)
    return [pair if pair.engine_label == label else replace(pair, engine_label=label) for pair, label in pairs]
