"""Reading the headers of safetensors files: names, shapes, types and bytes, without loading a weight."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quant.errors import CellFailure

BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F4": 4,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
}
QUANTIZED_SUFFIXES = (".weight_scale", ".weight_packed", ".qweight", ".weight.absmax", ".SCB", "._weight_qdata")
MAX_HEADER_BYTES = 100_000_000


class CheckpointError(CellFailure):
    """A folder that is not a readable checkpoint; the message names the file."""

    kind = "unreadable-checkpoint"


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
    """The tensors of a checkpoint folder that a loaded model uses. Raises CheckpointError where a file is missing.

    A head that is the embedding again (`tie_word_embeddings`) is not counted, though some folders hold it twice.
    """
    tensors = {name: tensor for file in weight_files(folder) for name, tensor in read_header(file).items()}
    config = folder / "config.json"
    tied = config.exists() and _is_tied(config)
    if tied and any(name.endswith("embed_tokens.weight") for name in tensors):
        tensors = {name: tensor for name, tensor in tensors.items() if name != "lm_head.weight"}
    return tensors


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that Transformers loads: one by its standard name, else those of the index, else all.

    What lies beside them is not of this checkpoint: Mistral's repositories hold the same weights again under other
    names in `consolidated.safetensors`. Raises CheckpointError.
    """
    single_file, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single_file.exists():
        return [single_file]
    files = sorted(folder.glob("*.safetensors"))
    if index.exists():
        try:
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{index}: is no index of safetensors files ({error})") from error
        missing = sorted(names - {file.name for file in files})
        if missing:
            raise CheckpointError(f"{index}: names {missing[0]}, which is not in the folder")
        files = [file for file in files if file.name in names]
    if not files:
        raise CheckpointError(f"{folder}: no *.safetensors file (pickled weights are never loaded)")
    return files


def _is_tied(config: Path) -> bool:
    """Whether config.json says so itself; what an architecture does by default is not known here."""
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(content, dict) and content.get("tie_word_embeddings") is True


def linear_widths(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Input width of every linear layer that methods quantize: 2-D weights but embeddings, norms and the head."""
    skipped = ("embed", "norm", "lm_head", "wte", "wpe")
    return {
        name: tensor.shape[1]
        for name, tensor in tensors.items()
        if name.endswith(".weight") and len(tensor.shape) == 2 and not any(word in name for word in skipped)
    }


def bits_per_weight(source: Mapping[str, Tensor], checkpoint: Mapping[str, Tensor]) -> tuple[float, float | None]:
    """(all tensors, quantized linear layers of the source): 8 × bytes in the checkpoint ÷ parameters in the source."""
    total = 8 * sum(t.bytes for t in checkpoint.values()) / sum(t.elements for t in source.values())
    quantized = {_layer(name) for name in checkpoint if name.endswith(QUANTIZED_SUFFIXES)}
    # experts that the source holds fused have no weight of their own there: above and below stand the same layers
    layers = {layer for layer in quantized if f"{layer}.weight" in source}
    if not layers:
        return total, None
    size = sum(t.bytes for t in checkpoint.values() if _layer(t.name) in layers)
    return total, 8 * size / sum(source[f"{layer}.weight"].elements for layer in layers)


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
