"""What a first plan measures: the engines that work here, and the quantizations that each of them serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml.comments import CommentedMap

from engines.registry import engines_by_name
from engines.types import Device
from flows.plan.schema import Plan
from flows.plan.source import PlanFile
from flows.sources.model_facts import ModelFacts
from flows.validate.engines import choose_engines, reason_against
from flows.validate.loads import longest_text
from flows.validate.matrix import EngineChoice, Quantization
from flows.validate.methods import fitting_group_size, resolve_quantizations
from flows.validate.tasks import SAMPLE_DATA
from quant.errors import BitfrontierError
from quant.registry import methods

# A few quantizations that users compare first. Which of them an engine here serves is decided by validation.
METHODS: dict[Literal["cpu", "cuda"], list[dict[str, Any]]] = {
    "cpu": [
        {"method": "none", "parameters": {"dtype": "fp16"}},
        {"method": "smoothquant"},
        {"method": "gptq", "parameters": {"scheme": "W4A16"}},
        {"method": "gguf", "parameters": {"scheme": "F16"}},
        {"method": "gguf", "parameters": {"scheme": "Q8_0"}},
        {"method": "gguf", "parameters": {"scheme": "Q4_K_M"}},
        {"method": "openvino", "parameters": {"scheme": "F16"}},
        {"method": "openvino", "parameters": {"scheme": "W8A16"}},
        {"method": "openvino", "parameters": {"scheme": "W4A16"}},
    ],
    "cuda": [
        {"method": "none", "parameters": {"dtype": "bf16"}},
        {"method": "fp8", "parameters": {"scheme": "FP8_DYNAMIC"}},
        {"method": "smoothquant"},
        {"method": "gptq", "parameters": {"scheme": "W4A16"}},
        {"method": "awq"},
    ],
}
ROOM = 0.8  # of a device's memory for weights: the rest is for the KV cache and what runs beside it
BYTES_PER_WEIGHT = 2


class NoFirstPlan(BitfrontierError):
    """There is nothing that a plan for this model could measure here."""

    exit_code = 2


@dataclass(frozen=True)
class FirstPlan:
    """What a first plan measures. `engines` are what each serves, `left_out` why others that are for this kind of
    device are not in it. `gpus` are those that one server takes.
    """

    model: ModelFacts
    device: Device
    methods: Sequence[Mapping[str, Any]]
    engines: Mapping[str, Sequence[Quantization]]
    left_out: Mapping[str, str]
    gpus: int

    @property
    def lacks_memory(self) -> bool:
        """Whether the unquantized model, every engine's baseline, may not fit."""
        return weight_bytes(self.model) > ROOM * self.device.memory_bytes * self.gpus


def weight_bytes(model: ModelFacts) -> int:
    """Of the unquantized model in 16 bits."""
    return BYTES_PER_WEIGHT * model.parameters


def first_plan(model: ModelFacts, device: Device) -> FirstPlan:
    """Choose engines and methods for a model on a device. Raises NoFirstPlan."""
    if model.unsuitable is not None:
        raise NoFirstPlan(f"{model.name} is unsuitable: {model.unsuitable}")
    candidates = [grouped(entry, model) for entry in METHODS[device.kind]]
    served: dict[str, list[Quantization]] = {}
    left_out: dict[str, str] = {}
    plan = plan_of_all(candidates, device)
    quantizations = resolve_quantizations(plan, Path(), [])
    architecture = model.architecture.within(longest_text(plan.plan, {}, model.gate_tokens))
    for choice in choose_engines(plan, device, quantizations, []):
        reasons = [
            reason_against(plan.plan, quantization, choice, device, architecture) for quantization in quantizations
        ]
        works = [q for q, reason in zip(quantizations, reasons, strict=True) if reason is None]
        if reason := _why_left_out(choice, works, reasons):
            left_out[choice.engine.name] = reason
        else:
            served[choice.engine.name] = works
    if not served:
        causes = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise NoFirstPlan(f"no engine here serves {model.name} quantized ({causes}). Choose another model or machine.")
    positions = {quantization.position for works in served.values() for quantization in works}
    chosen = [entry for position, entry in enumerate(candidates) if position in positions]
    gpus = 1  # the fewest, a power of two, whose memory holds the unquantized model; else as many as there are
    while weight_bytes(model) > ROOM * device.memory_bytes * gpus and 2 * gpus <= device.count:
        gpus *= 2
    return FirstPlan(model, device, chosen, served, left_out, gpus)


def grouped(entry: Mapping[str, Any], model: ModelFacts) -> dict[str, Any]:
    """The entry with a group size that fits the model, where its numbers are in groups."""
    method = methods()[entry["method"]]
    filled = {**(method.defaults or {}), **entry.get("parameters", {})}
    if "group_size" not in filled or method.scheme(filled).group_size is None:
        return dict(entry)
    return {**entry, "parameters": {**entry.get("parameters", {}), "group_size": fitting_group_size(model)}}


def plan_of_all(entries: Sequence[Mapping[str, Any]], device: Device) -> PlanFile:
    """The entries in every engine that can be started on this kind of device; none of its names is checked yet."""
    engines = [name for name, engine in engines_by_name().items() if device.kind in engine.environments]
    raw = {
        "name": "first",
        "models": ["any"],
        "data": SAMPLE_DATA,
        "methods": entries,
        "engines": engines,
        "load": [{"concurrency": 1, "requests": 1, "prompt_tokens": 1, "output_tokens": 2}],
        "tasks": ["arc_easy"],
    }
    return PlanFile(Path("first.yaml"), Plan.model_validate(raw), CommentedMap(), "")


def _why_left_out(choice: EngineChoice, works: Sequence[Quantization], reasons: Sequence[str | None]) -> str | None:
    if choice.missing:
        return choice.missing.partition(";")[0]
    if choice.engine.dialect.prompt_logprobs == "none":
        return "its server gives no log-probabilities: accuracy cannot be scored"
    if choice.engine.emulates:
        return "it emulates quantized layers: its cells would show a method's accuracy, not its speed"
    baselines = [quantization for quantization in works if quantization.scheme.unquantized]
    if not baselines:
        return next(reason for reason in reasons if reason)
    if len(baselines) == len(works):
        return "here it serves the unquantized model alone"
    return None
