"""Names under which cells of several models, or of one engine with different options, are told apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from engines.option_labels import option_labels
from evals.schema.trial import Server, Trial


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


def with_compute_types(trials: Sequence[Trial], baselines: Mapping[Server, Trial]) -> list[Trial]:
    """The trials, with the type that they compute in in the names of those whose baseline computes in another."""
    return [
        replace(trial, engine_label=f"{trial.engine_label}, in {trial.compute_dtype}".removeprefix(", "))
        if _differs(trial, baselines.get(trial.server))
        else trial
        for trial in trials
    ]


def mixed_compute_types(trials: Sequence[Trial], baselines: Mapping[Server, Trial]) -> Iterator[str]:
    """A sentence for each cell whose baseline computes in another type."""
    for trial in trials:
        baseline = baselines.get(trial.server)
        if baseline is not None and _differs(trial, baseline):
            yield (
                f"{trial.name} computes in {trial.compute_dtype}, its baseline in {baseline.compute_dtype}, so "
                "ratios mix quantization with the change of dtype. "
                f"Sweep again, with `dtype: {trial.compute_dtype}` among the options of {trial.engine}"
            )


def _differs(trial: Trial, baseline: Trial | None) -> bool:
    """Whether both say what they compute in, and it is not the same."""
    types = {trial.compute_dtype, baseline.compute_dtype if baseline else ""}
    return "" not in types and len(types) > 1 and not trial.unquantized


def model_labels(models: Sequence[str]) -> dict[str, str]:
    """Of each model the last part of its path, or all of it where two end alike."""
    short = {model: model.rstrip("/").rsplit("/", 1)[-1] for model in models}
    ends = [*short.values()]
    return {model: label if ends.count(label) == 1 else model for model, label in short.items()}
