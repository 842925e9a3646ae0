"""What a GGUF file says of itself: its tensors and its type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from quant.tensors import CheckpointError, Tensor


@dataclass(frozen=True)
class GgufFile:
    """`file_type`: of enum llama_ftype of llama.h; None where the file names none."""

    tensors: Mapping[str, Tensor]
    file_type: int | None


@dataclass(frozen=True)
class _State:
    """A file as it is now, under whatever name."""

    path: Path = field(compare=False)
    device: int
    inode: int
    size_bytes: int
    written_ns: int


def read_gguf_file(file: Path) -> GgufFile:
    """By ggml's own reader, which takes seconds for a tokenizer's hundred thousand words: so each state of a file is
    read once. Raises CheckpointError.
    """
    stat = file.stat()
    return _read(_State(file, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns))


@lru_cache(maxsize=256)
def _read(state: _State) -> GgufFile:
    from gguf import GGUFReader  # numpy and a large table of constants

    try:
        reader = GGUFReader(state.path)
        named = reader.get_field("general.file_type")
    except (ValueError, IndexError, KeyError) as error:
        raise CheckpointError(f"{state.path}: is no GGUF file ({error})") from error
    tensors = {
        one.name: Tensor(one.name, one.tensor_type.name, tuple(int(size) for size in one.shape), int(one.n_bytes))
        for one in reader.tensors
    }
    return GgufFile(tensors, None if named is None else int(named.contents()))
