"""The types that cells compute in, as far as they are known before anything runs, and the baselines that share them.

A cell in 16 bits beside a baseline in float32 would owe the difference to the type, not to its quantization.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from engines.option_labels import option_labels
from engines.types import Device
from flows.plan.schema import Plan
from flows.validate.engines import takes, unsupported
from flows.validate.matrix import Cell, EngineChoice, Quantization

STORED_DTYPE = "float16"  # of what a method leaves unquantized

Served = tuple[EngineChoice, Sequence[Quantization]]


def compute_dtype(quantization: Quantization, choice: EngineChoice, device: Device) -> str:
    """What this engine computes in with this checkpoint; empty where that is not known, or the same for all."""
    if choice.attached:
        return ""
    asked = choice.engine.computes_in(quantization.scheme, device, choice.options)
    if asked != "auto":
        return asked
    if quantization.scheme.unquantized:
        return quantization.scheme.weights
    return "" if quantization.stored else STORED_DTYPE


def served_by_dtype(
    plan: Plan, choices: Sequence[EngineChoice], quantizations: Sequence[Quantization], device: Device
) -> list[Served]:
    """What each engine serves, baselines first. Cells that compute in another type than their baseline get it as an
    option, and the baseline once more in that type.
    """
    served: list[Served] = []
    for choice in choices:
        taken = _taken(plan, choice, quantizations)
        apart = [_in_dtype(choice, dtype, taken, device) for dtype in _other_dtypes(choice, taken, device)]
        moved = set()
        for explicit, (_, *cells) in apart:
            own = next((other for other in choices if other == explicit), None)  # the plan asks for this type itself
            there = _taken(plan, own, cells) if own else cells
            moved |= {quantization.label for quantization in there}
        served.append((choice, [quantization for quantization in taken if quantization.label not in moved]))
        served += [(explicit, group) for explicit, group in apart if explicit not in choices]
    labels = option_labels([(choice.engine.name, choice.options) for choice, _ in served])
    return [(replace(choice, label=label), group) for (choice, group), label in zip(served, labels, strict=True)]


def _taken(plan: Plan, choice: EngineChoice, quantizations: Sequence[Quantization]) -> list[Quantization]:
    """What the choice's entry takes, unquantized ones first."""
    taken = [quantization for quantization in quantizations if takes(quantization, plan.engines[choice.entry])]
    return sorted(taken, key=lambda quantization: not quantization.scheme.unquantized)


def mixed_dtypes(served: Sequence[Served], device: Device) -> Iterator[str]:
    """A sentence for each cell that has no baseline in its own type."""
    for choice, quantizations in served:
        working = [quantization for quantization in quantizations if not unsupported(quantization, choice, device)]
        baselines = [quantization for quantization in working if quantization.scheme.unquantized]
        theirs = compute_dtype(baselines[0], choice, device) if baselines else ""
        for quantization in working:
            ours = compute_dtype(quantization, choice, device)
            if ours and theirs and ours != theirs and not quantization.scheme.unquantized:
                yield (
                    f"{quantization.label} computes in {ours} in {choice.engine.name}, its baseline in {theirs}, and "
                    f"{choice.engine.name} serves no baseline in {ours}, "
                    "so ratios mix quantization with the change of dtype"
                )


def added_baselines(plan: Plan, cells: Sequence[Cell]) -> list[str]:
    """A sentence for each baseline that the plan itself does not ask for."""
    sentences = []
    for cell in cells:
        given = plan.engines[cell.choice.entry].options.get("dtype", "auto")
        dtype = cell.choice.options.get("dtype", "auto")
        if cell.quantization.scheme.unquantized and dtype not in (given if isinstance(given, list) else [given]):
            sentences.append(f"{cell.name} is added: cells that compute in {dtype} are compared with it")
    return sentences


def _other_dtypes(choice: EngineChoice, taken: Sequence[Quantization], device: Device) -> list[str]:
    """The types of quantized cells that differ from the baseline's, and in which the baseline can be served, too."""
    working = [quantization for quantization in taken if not unsupported(quantization, choice, device)]
    if not working or not working[0].scheme.unquantized or "dtype" not in choice.options:
        return []
    quantized = [quantization for quantization in working if not quantization.scheme.unquantized]
    types = dict.fromkeys(compute_dtype(quantization, choice, device) for quantization in quantized)
    others = [name for name in types if name and name != compute_dtype(working[0], choice, device)]
    return [name for name in others if not unsupported(working[0], _with_dtype(choice, name), device)]


def _with_dtype(choice: EngineChoice, dtype: str) -> EngineChoice:
    return replace(choice, options={**choice.options, "dtype": dtype})


def _in_dtype(choice: EngineChoice, dtype: str, taken: Sequence[Quantization], device: Device) -> Served:
    """The engine in that type, with its baseline and the cells that compute in it anyway."""
    explicit = _with_dtype(choice, dtype)
    working = [quantization for quantization in taken if not unsupported(quantization, choice, device)]
    return explicit, [
        working[0],
        *(
            other
            for other in working[1:]
            if not other.scheme.unquantized and compute_dtype(other, choice, device) == dtype
        ),
    ]
