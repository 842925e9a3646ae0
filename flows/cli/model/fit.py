"""Which methods and engines take a model on this machine, and how large it becomes: by the validation of plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engines.types import Device
from flows.cli.new_plan.choice import BYTES_PER_WEIGHT, grouped, plan_of_all
from flows.sources.model_facts import ModelFacts
from flows.validate.engines import choose_engines, unsupported
from flows.validate.estimate import bits_of
from flows.validate.loads import longest_text
from flows.validate.matrix import Quantization
from flows.validate.methods import resolve_quantizations
from quant.registry import methods
from quant.types import Scheme

SCALE_BITS = 16
GROUP_SIZES = (32, 64, 128)


@dataclass(frozen=True)
class Pair:
    """A quantization in an engine. `reason` is why it cannot work here, `by_model` whether that is for this model's
    architecture, and other models can.
    """

    reason: str | None
    by_model: bool


@dataclass(frozen=True)
class Fit:
    """A quantization of the model: the bytes of its weights, where they are known, and each engine's pair."""

    quantization: Quantization
    weight_bytes: int | None
    pairs: Mapping[str, Pair]


def fits_of(model: ModelFacts, device: Device) -> list[Fit]:
    """Every method by its default parameters, in every engine for this kind of device."""
    names = [name for name, method in methods().items() if method.defaults is not None]
    plan = plan_of_all([grouped({"method": name}, model) for name in names], device)
    quantizations = resolve_quantizations(plan, plan.file.parent, [])
    choices = choose_engines(plan, device, quantizations, [])
    architecture = model.architecture.within(longest_text(plan.plan, {}, model.gate_tokens))
    fits = []
    for quantization in quantizations:
        pairs = {}
        for choice in choices:
            reason = unsupported(quantization, choice, device, architecture)
            by_model = reason is not None and reason != unsupported(quantization, choice, device)
            pairs[choice.engine.name] = Pair(reason, by_model)
        fits.append(Fit(quantization, weight_bytes(model, quantization.scheme), pairs))
    return fits


def weight_bytes(model: ModelFacts, scheme: Scheme) -> int | None:
    """Of a model whose linear layers are in a scheme, with a scale of 16 bits for each group, and all else in 16 bits;
    for types of GGUF, which quantize embeddings too, it is too much. None where the layers are not known.
    """
    if model.linear_parameters is None:
        return None
    others = model.parameters - model.linear_parameters
    scales = SCALE_BITS / scheme.group_size if scheme.group_size else 0
    return round(model.linear_parameters * (bits_of(scheme) + scales) / 8 + others * BYTES_PER_WEIGHT)


def group_sizes(model: ModelFacts) -> list[int]:
    """The usual ones that divide every linear layer."""
    return [size for size in GROUP_SIZES if model.widths and all(width % size == 0 for width in model.widths)]
