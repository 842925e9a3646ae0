"""Reading the headers of safetensors files: names, shapes, types and bytes, without loading a weight."""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quant.canonical_json import open_regular, read_regular
from quant.errors import CellFailure, reading

MAKE_AGAIN = "Copy, download or make it again"
MOST_SHARD_BYTES = 2**42  # headers alone are read
INDEX = "model.safetensors.index.json"
LFS_POINTER = b"version https://git-lfs"  # what a clone without Git LFS has in a file's place
QUANTIZED_SUFFIXES = (".weight_scale", ".weight_packed", ".qweight", ".weight.absmax", ".SCB", "._weight_qdata")


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
    """The tensors of one file, read by the library, which checks offsets, types and length. Raises CheckpointError.

    The library does not say a tensor's bytes: they are its elements times the bits in the name of its type, without
    gaps. No weight is loaded, so that a type which numpy lacks (BF16, F8_E4M3, F4) is no hindrance.
    """
    from safetensors import SafetensorError, safe_open  # not every engine's environment has it, and all import this

    with reading(path, CheckpointError, MAKE_AGAIN):
        open_regular(path, MOST_SHARD_BYTES).close()
        try:
            with safe_open(path, framework="np") as file:
                parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
                entries = [(name, str(part.get_dtype()), tuple(part.get_shape())) for name, part in parts.items()]
        except SafetensorError as error:
            words = f"is not a whole safetensors file ({error}); it was cut off or damaged"
            with open_regular(path, MOST_SHARD_BYTES) as content:
                if content.read(len(LFS_POINTER)) == LFS_POINTER:
                    words = "is a pointer of Git LFS in the place of the weights, which `git lfs pull` fetches there"
            raise CheckpointError(f"{path}: {words}") from error
    bits = {dtype: int((re.findall(r"\d+", dtype) or [8])[0]) for _, dtype, _ in entries}  # F8_E4M3: 8, BOOL: 8
    return {name: Tensor(name, dtype, shape, math.prod(shape) * bits[dtype] // 8) for name, dtype, shape in entries}


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
    single_file, index = folder / "model.safetensors", folder / INDEX
    if single_file.exists():
        return [single_file]
    files = sorted(folder.glob("*.safetensors"))
    if index.exists():
        names = set(read_index(index).values())
        missing = sorted(names - {file.name for file in files})
        if missing:
            raise CheckpointError(f"{index}: names {missing[0]}, which is not in the folder")
        files = [file for file in files if file.name in names]
    if not files:
        raise CheckpointError(f"{folder}: no *.safetensors file (pickled weights are never loaded)")
    return files


def read_index(file: Path) -> dict[str, str]:
    """The name of the file of each tensor. Raises CheckpointError."""
    with reading(file, CheckpointError, MAKE_AGAIN, "is not an index of safetensors files"):
        return {str(name): str(shard) for name, shard in json.loads(read_regular(file))["weight_map"].items()}


def weight_map(folder: Path) -> dict[str, str]:
    """The name of the file of each tensor that Transformers loads, also of files that are missing.

    Raises CheckpointError.
    """
    index = folder / INDEX
    if index.exists() and not (folder / "model.safetensors").exists():
        return read_index(index)
    return {name: file.name for file in weight_files(folder) for name in read_header(file)}


def _is_tied(config: Path) -> bool:
    """Whether config.json says so itself; what an architecture does by default is not known here."""
    try:
        content = json.loads(read_regular(config))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("tie_word_embeddings") is True


NOT_LINEAR = ("embed", "norm", "lm_head", "wte", "wpe")  # in names of tensors that no method quantizes


def linear_parameters(tensors: Mapping[str, Tensor]) -> int:
    """Those of the layers that methods quantize, fused experts among them."""
    matrices = (tensor for tensor in tensors.values() if len(tensor.shape) >= 2)
    return sum(tensor.elements for tensor in matrices if not any(word in tensor.name for word in NOT_LINEAR))


def linear_widths(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Input width of every linear layer that methods quantize: 2-D weights but embeddings, norms and the head."""
    return {
        name: tensor.shape[1]
        for name, tensor in tensors.items()
        if name.endswith(".weight") and len(tensor.shape) == 2 and not any(word in name for word in NOT_LINEAR)
    }


def bits_per_weight(source: Mapping[str, Tensor], checkpoint: Mapping[str, Tensor]) -> tuple[float, float | None]:
    """(all tensors, quantized linear layers of the source): 8 × bytes in the checkpoint ÷ parameters in the source."""
    total = 8 * sum(t.bytes for t in checkpoint.values()) / sum(t.elements for t in source.values())
    quantized = quantized_layers(checkpoint)
    # experts that the source holds fused have no weight of their own there: above and below stand the same layers
    layers = {layer for layer in quantized if f"{layer}.weight" in source}
    if not layers:
        return total, None
    size = sum(t.bytes for t in checkpoint.values() if _layer(t.name) in layers)
    return total, 8 * size / sum(source[f"{layer}.weight"].elements for layer in layers)


def quantized_layers(tensors: Mapping[str, Tensor]) -> set[str]:
    """The layers that have scales."""
    return {_layer(name) for name in tensors if name.endswith(QUANTIZED_SUFFIXES)}


def _layer(name: str) -> str:
    """The layer that a tensor belongs to: `a.b.weight_packed`, `a.b.weight.absmax` and `a.b.SCB` to `a.b`."""
    before, separator, _ = name.partition(".weight")
    return before if separator else name.rsplit(".", 1)[0]


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder`, by relative name."""
    return {str(p.relative_to(folder)): hash_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def hash_file(path: Path) -> str:
    """SHA-256 of one regular file, in hexadecimal. Raises OSError with the file."""
    with open_regular(path, sys.maxsize) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
