"""Whether a checkpoint is what its label says, by the tensors that were written. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from quant.checkpoints.inspect import Contents
from quant.checkpoints.safetensors import CheckpointError, Tensor, quantized_layers, read_tensors
from quant.types import Checkpoint, Scheme

# the bits of a weight, without scales; GGUF's types mix several, and torchao keeps four bits in a byte
BITS = {"int4": 4, "int8": 8, "fp8": 8, "NVFP4": 4, "NVFP4A16": 4, "MXFP4": 4, "MXFP4A16": 4, "NF4": 4}
MOST_BESIDE = 1.5  # bits per weight of scales, zero points and biases
SMALL_GROUP = 32  # of smaller groups the scales alone take more
EXPERTS = ".experts."
FLOATS = ("F16", "BF16", "F32")
CODES = (".weight", ".weight_packed", ".qweight", "._weight_qdata")
CHECKED = ("compressed-tensors", "gptq", "awq", "bitsandbytes", "modelopt", "fp8", "openvino")


def check_made(
    checkpoint_format: str, scheme: Scheme, source: Path, folder: Path, contents: Contents | Checkpoint
) -> None:
    """Whether the quantized layers are stored in the scheme's bits and the whole is smaller than its source; of a
    finished checkpoint by its record and headers.

    Raises CheckpointError. Formats that only a third party's method and engine know are theirs to check.
    """
    if scheme.unquantized or checkpoint_format not in (*CHECKED, "gguf", "torchao"):
        return
    original = read_tensors(source)
    before = 8 * sum(tensor.bytes for tensor in original.values()) / sum(t.elements for t in original.values())
    if contents.bits_per_weight >= before:
        raise CheckpointError(
            f"{folder}: has {contents.bits_per_weight:.2f} bits per weight, not fewer than its source ({before:.2f})"
        )
    if checkpoint_format not in ("gguf", "openvino"):
        _check_stored(folder, read_tensors(folder))
    if scheme.weights in BITS and checkpoint_format in CHECKED:
        _check_bits(folder, scheme, contents.linear_bits_per_weight)


def _check_stored(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    layers = sorted(quantized_layers(tensors))
    stored = {layer: [tensors[layer + end].dtype for end in CODES if layer + end in tensors] for layer in layers}
    if floats := [layer for layer, dtypes in stored.items() if set(dtypes) & set(FLOATS)]:
        raise CheckpointError(
            f"{folder}: {len(floats)} of {len(layers)} layers have scales and are still stored as floats, such as "
            f"{floats[0]} ({stored[floats[0]][0]})"
        )
    if any(EXPERTS in layer for layer in layers):
        return  # an author may leave some experts as they are
    # fused experts are tensors of three dimensions, which tools that go by layers step over
    experts = [
        name
        for name, tensor in tensors.items()
        if tensor.dtype in FLOATS
        and not name.endswith("bias")
        and len(tensor.shape) > 1
        and (EXPERTS in name or (len(tensor.shape) == 3 and "moe" in name))
    ]
    if experts:
        raise CheckpointError(f"{folder}: {len(experts)} weights of experts are stored as floats, such as {experts[0]}")


def _check_bits(folder: Path, scheme: Scheme, bits: float | None) -> None:
    least = BITS[scheme.weights]
    most = least + MOST_BESIDE
    if scheme.group_size and scheme.group_size < SMALL_GROUP:
        most += SMALL_GROUP / scheme.group_size
    if bits is None:
        raise CheckpointError(f"{folder}: no linear layer is quantized, and the method says {scheme.label}")
    if not least <= bits <= most:
        raise CheckpointError(
            f"{folder}: its linear layers have {bits:.2f} bits per weight, and {scheme.label} has {least} to {most:g}"
        )
