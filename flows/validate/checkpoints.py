"""Checkpoints that a plan names, against the plan's models, as far as their configurations tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flows.plan.source import PlanFile, Problem
from flows.sources.model_facts import ModelFacts
from flows.validate.matrix import Quantization
from quant.checkpoints.detect import read_config


def stored_problems(
    parsed: PlanFile, models: Sequence[ModelFacts], quantizations: Sequence[Quantization]
) -> Iterator[Problem]:
    """Those that are no quantized form of the plan's one model. Their other sizes are compared when they are copied."""
    for quantization in quantizations:
        where = ("methods", quantization.position, "parameters")
        for name, stored in quantization.stored.items():
            if quantization.format == "safetensors":
                message = f"{stored.folder} is not quantized"
                yield parsed.problem(
                    (*where, name), message, "name it under `models:`, so that every method can use it"
                )
            if len(parsed.plan.models) > 1:
                message = (
                    f"'{quantization.label}' is a checkpoint of one model (the plan has {len(parsed.plan.models)})"
                )
                yield parsed.problem((*where, name), message, "keep only the model that it was made from")
            if not (stored.folder / "config.json").exists():
                continue
            vocabulary = read_config(stored.folder).get("vocab_size")
            for model in models:
                if None not in (vocabulary, model.vocabulary) and vocabulary != model.vocabulary:
                    message = f"{stored.folder} has {vocabulary} words, {model.name} has {model.vocabulary}"
                    yield parsed.problem((*where, name), message, "give a checkpoint that was made from this model")
