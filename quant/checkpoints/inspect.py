"""What a checkpoint really holds, read from its files whatever their format: bits per weight and tensor types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from quant.canonical_json import read_regular
from quant.checkpoints.safetensors import MAKE_AGAIN, CheckpointError, Tensor, bits_per_weight, read_tensors
from quant.errors import reading

EMBEDDINGS = ("embed_tokens", "word_embeddings", "tok_embeddings", "token_embd", "embed_in", ".wte.")
POSITIONS = (".wpe.", "embed_positions", "position_embeddings")
HEADS = ("lm_head", "output.weight", "embed_out", "output_projection")
EXPERTS = ("experts", "_exps.")
COMPANIONS = ("/scale", "/zero_point")  # of a matrix of codes in OpenVINO's format
OPENVINO_INDEXES = ("i64", "i32", "boolean", "string")
WEIGHT_FILES = (".safetensors", ".gguf", ".bin")


@dataclass(frozen=True)
class Contents:
    """Bits per weight over all tensors and over the quantized linear layers, and how many tensors have which type."""

    bits_per_weight: float
    linear_bits_per_weight: float | None
    tensor_types: Mapping[str, int]


def inspect_weights(checkpoint_format: str, source: Path, folder: Path) -> Contents:
    """Look into the checkpoint `folder`, made from the safetensors in `source`. Raises CheckpointError."""
    original = read_tensors(source)
    if checkpoint_format == "gguf":
        tensors = read_gguf(folder)
        matrices = [t for name, t in tensors.items() if name.startswith("blk.") and len(t.shape) == 2]
        total, linear = _bits(original, tensors), None
        if any(matrix.dtype.upper() not in ("F32", "F16", "BF16") for matrix in matrices):
            linear = 8 * sum(matrix.bytes for matrix in matrices) / sum(matrix.elements for matrix in matrices)
    elif checkpoint_format == "openvino":
        tensors = read_openvino(folder)
        total, linear = _bits(original, tensors), _compressed_bits(tensors)
    else:
        tensors = read_tensors(folder)
        total, linear = bits_per_weight(original, tensors)
    return Contents(total, linear, dict(Counter(tensor.dtype for tensor in tensors.values())))


def decode_bytes(checkpoint_format: str, folder: Path) -> int | None:
    """Bytes of weights that are read for one decoded token: all tensors but an input embedding that is not the output
    matrix too, since of that one row is looked up. None for a mixture of experts, of which only some are read.
    """
    readers = {"gguf": read_gguf, "openvino": read_openvino}
    tensors = readers.get(checkpoint_format, read_tensors)(folder)
    if any(word in name for name in tensors for word in EXPERTS):
        return None
    untied = any(name.startswith(HEADS) or ".lm_head" in name for name in tensors)
    looked_up = [name for name in tensors if untied and any(word in f".{name}" for word in EMBEDDINGS)]
    return sum(tensor.bytes for name, tensor in tensors.items() if name not in looked_up)


def read_gguf(folder: Path) -> Mapping[str, Tensor]:
    """The tensors of the one GGUF file in `folder`. Raises CheckpointError."""
    from quant.checkpoints.gguf import read_gguf_file  # numpy and a large table of constants

    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        raise CheckpointError(f"{folder}: has {len(files)} GGUF files, one is expected")
    return read_gguf_file(files[0]).tensors


def read_openvino(folder: Path) -> dict[str, Tensor]:
    """The constants of `openvino_model.xml` that hold weights, scales and zero points (not indexes and shapes)."""
    file = folder / "openvino_model.xml"
    tensors = {}
    with reading(file, CheckpointError, MAKE_AGAIN, "is not an OpenVINO model"):
        for layer in ElementTree.fromstring(read_regular(file)).iter("layer"):
            data = layer.find("data")
            if layer.get("type") != "Const" or data is None or data.get("element_type") in OPENVINO_INDEXES:
                continue
            name, shape = str(layer.get("name")), str(data.get("shape"))
            sizes = tuple(int(size) for size in shape.split(",") if size.strip())
            tensors[name] = Tensor(name, str(data.get("element_type")), sizes, int(str(data.get("size"))))
    return tensors


def _bits(source: Mapping[str, Tensor], checkpoint: Mapping[str, Tensor]) -> float:
    return 8 * sum(t.bytes for t in checkpoint.values()) / sum(t.elements for t in source.values())


def _compressed_bits(tensors: Mapping[str, Tensor]) -> float | None:
    """Of OpenVINO's matrices, most of them codes with scales, without embeddings and the head, which it keeps in more
    bits. A matrix that is left as floats counts, too. None where none has codes.
    """
    beside = (*EMBEDDINGS, *POSITIONS, *HEADS)
    within = {name: tensor for name, tensor in tensors.items() if not any(word in f".{name}" for word in beside)}
    matrices = [
        name
        for name, tensor in within.items()
        if not name.endswith(COMPANIONS) and sum(size > 1 for size in tensor.shape) > 1
    ]
    if not any(f"{name}/scale" in within for name in matrices):
        return None
    stored = [within[name + end] for name in matrices for end in ("", *COMPANIONS) if name + end in within]
    return 8 * sum(tensor.bytes for tensor in stored) / sum(within[name].elements for name in matrices)
