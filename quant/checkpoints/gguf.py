"""What a GGUF file says of itself: its tensors and its type. Imported late: numpy and a large table of constants."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGUFReader, GGUFValueType

from quant.canonical_json import open_regular
from quant.checkpoints.safetensors import MAKE_AGAIN, CheckpointError, Tensor
from quant.errors import reading

MOST_GGUF_BYTES = 2**42  # it is mapped, not read


@dataclass(frozen=True)
class GgufFile:
    """`file_type`: of enum llama_ftype of llama.h; None where the file names none."""

    tensors: Mapping[str, Tensor]
    file_type: int | None


class _HeaderReader(GGUFReader):  # type: ignore[misc]
    """ggml's own reader, which steps over lists: it takes seconds to look at each word of a tokenizer."""

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> tuple[int, list[Any], list[int], list[Any]]:
        data = memoryview(self.data)
        kind, count = struct.unpack_from("<IQ", data, orig_offs) if raw_type == GGUFValueType.ARRAY else (None, 0)
        offset = orig_offs + struct.calcsize("<IQ")
        if kind == GGUFValueType.STRING:
            for _ in range(count):
                offset += 8 + struct.unpack_from("<Q", data, offset)[0]
        elif kind in self.gguf_scalar_to_np:
            offset += count * self.gguf_scalar_to_np[kind](0).nbytes
        else:  # no list, or one of lists
            parts: tuple[int, list[Any], list[int], list[Any]] = super()._get_field_parts(orig_offs, raw_type)
            return parts
        return offset - orig_offs, [], [], [GGUFValueType.ARRAY]


def read_gguf_file(file: Path) -> GgufFile:
    """Of a little-endian file (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). Raises CheckpointError."""
    with reading(file, CheckpointError, MAKE_AGAIN, "is not a GGUF file"):
        open_regular(file, MOST_GGUF_BYTES).close()
        reader = _HeaderReader(file)
        named = reader.get_field("general.file_type")
        tensors = {
            tensor.name: Tensor(
                tensor.name, tensor.tensor_type.name, tuple(int(size) for size in tensor.shape), int(tensor.n_bytes)
            )
            for tensor in reader.tensors
        }
        return GgufFile(tensors, None if named is None else int(named.contents()))
