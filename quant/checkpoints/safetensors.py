"""Reading the headers of safetensors files: names, shapes, types and bytes, without loading a weight."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4, "U16": 16, "I16": 16, "F16": 16,
    "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64,
}  # fmt: skip
QUANTIZED_SUFFIXES = (".weight_scale", ".weight_packed", ".qweight", ".weight.absmax", ".SCB", "._weight_qdata")
MAX_HEADER_BYTES = 100_000_000


class CheckpointError(Exception):
    """A folder that is not a readable checkpoint; the message names the file."""


@dataclass(frozen=True)
class Tensor:
    """One entry of a safetensors header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def read_header(path: Path) -> dict[str, Tensor]:
    """The tensors of one file, by the published layout: 8 bytes of length, JSON, data.

    Source: https://github.com/huggingface/safetensors#format. The library's own reader needs torch or numpy types
    for every dtype; the header alone needs neither.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= MAX_HEADER_BYTES:
            raise CheckpointError(f"{path}: header length {length} is not that of a safetensors file")
        text = file.read(length)
    try:
        header = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"{path}: header is not JSON ({error})") from error
    header.pop("__metadata__", None)
    tensors = {name: _tensor(path, name, entry) for name, entry in header.items()}
    end = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if path.stat().st_size != end:
        raise CheckpointError(f"{path}: has {path.stat().st_size} bytes, its header says {end}; it was cut off")
    return tensors


def _tensor(path: Path, name: str, entry: Mapping[str, Any]) -> Tensor:
    dtype, shape = str(entry["dtype"]), tuple(int(size) for size in entry["shape"])
    if dtype not in BITS:
        raise CheckpointError(f"{path}: tensor {name} has the unknown type {dtype}")
    start, stop = entry["data_offsets"]
    tensor = Tensor(name, dtype, shape, stop - start)
    if tensor.bytes * 8 != tensor.elements * BITS[dtype]:
        raise CheckpointError(f"{path}: tensor {name} has {tensor.bytes} bytes for {shape} of {dtype}")
    return tensor


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint folder. Raises CheckpointError if there are no safetensors files."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{folder}: no *.safetensors file (pickled weights are never loaded)")
    return {name: tensor for file in files for name, tensor in read_header(file).items()}


def linear_widths(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Input width of every linear layer that methods quantize: 2-D weights but embeddings, norms and the head."""
    skipped = ("embed", "norm", "lm_head", "wte", "wpe")
    return {
        name: tensor.shape[1]
        for name, tensor in tensors.items()
        if name.endswith(".weight") and len(tensor.shape) == 2 and not any(word in name for word in skipped)
    }


def bits_per_weight(source: Mapping[str, Tensor], checkpoint: Mapping[str, Tensor]) -> tuple[float, float | None]:
    """(all tensors, quantized linear layers only): 8 × bytes in the checkpoint ÷ parameters in the source."""
    total = 8 * sum(t.bytes for t in checkpoint.values()) / sum(t.elements for t in source.values())
    layers = {_layer(name) for name in checkpoint if name.endswith(QUANTIZED_SUFFIXES)}
    weights = [f"{layer}.weight" for layer in layers if f"{layer}.weight" in source]
    if not weights:
        return total, None
    size = sum(t.bytes for t in checkpoint.values() if _layer(t.name) in layers)
    return total, 8 * size / sum(source[name].elements for name in weights)


def _layer(name: str) -> str:
    """The layer that a tensor belongs to: `a.b.weight_packed`, `a.b.weight.absmax` and `a.b.SCB` to `a.b`."""
    before, separator, _ = name.partition(".weight")
    return before if separator else name.rsplit(".", 1)[0]


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder`, by relative name."""
    return {str(p.relative_to(folder)): hash_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def hash_file(path: Path) -> str:
    """SHA-256 of one file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
