"""Names under which cells of several models, or of one engine with different options, are told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engines.option_labels import option_labels
from evals.schema.trial import Trial


def told_apart(trials: Sequence[Trial]) -> list[Trial]:
    """The trials with the options in their names that differ among these, and the model where there are several: others
    may have been there when one of them was measured.
    """
    labels = option_labels([(trial.engine, trial.engine_options) for trial in trials])
    models = model_labels([trial.model for trial in trials])
    named = []
    for trial, label in zip(trials, labels, strict=True):
        names = (label, models[trial.model] if len(models) > 1 else "")
        is_named = (trial.engine_label, trial.model_label) == names
        named.append(trial if is_named else replace(trial, engine_label=names[0], model_label=names[1]))
    return named


def model_labels(models: Sequence[str]) -> dict[str, str]:
    """Of each model the last part of its path, or all of it where two end alike."""
    short = {model: model.rstrip("/").rsplit("/", 1)[-1] for model in models}
    ends = [*short.values()]
    return {model: label if ends.count(label) == 1 else model for model, label in short.items()}
