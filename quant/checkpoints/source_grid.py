"""Whether a model's weights lie on a grid already, and whether a method gave a checkpoint that very grid again.

Weights that were dequantized take few distinct values in each of their old blocks. A method that rounds to the same
grid loses nothing on such a model: that says nothing of any other. Sampled layers and rows alone are read.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant.checkpoints.safetensors import CheckpointError, linear_widths, read_tensors, weight_files
from quant.types import Scheme

Rows = NDArray[np.float32]

LAYERS = 6
ROWS = 64
BLOCKS = (32, 64, 128, 256, 512, 1024, 2048, 4096)  # a block of n weights shows a grid of at most n / 2 values
MOST_LEVELS = 256  # bfloat16 itself gives a long row of trained weights some 1,000 values
FEWEST_LEVELS = 4  # blocks of fewer values are pruned, which is no grid
NEARLY_ALL = 0.98
SAME = 2**-9  # of a block's largest weight: twice rounded to float16; four bits round to 2^-5 of it, eight to 2^-9
PERMUTED = ("q_proj", "k_proj")  # llama.cpp stores their rows in another order
FLOAT_TYPES: Mapping[str, str] = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


@dataclass(frozen=True)
class Grid:
    """At most 2^`bits` values in nearly every `block` of weights along the input dimension."""

    bits: int
    block: int

    def __str__(self) -> str:
        return f"{self.bits} bits in blocks of {self.block}"


@cache
def find_grid(source: Path) -> Grid | None:
    """The grid of fewest bits, and its largest block, on which sampled layers of an unquantized model lie; None where
    their weights are not seen to lie on one (one scale for few weights, such as NVFP4's 16, does not show).
    """
    layers = [rows for _, rows in _sampled(source)]
    grids = []
    for block in BLOCKS if layers else ():
        blocks = [np.sort(rows[:, : rows.shape[1] // block * block].reshape(-1, block), axis=1) for rows in layers]
        counts = np.concatenate([1 + np.count_nonzero(np.diff(values, axis=1), axis=1) for values in blocks])
        counts = counts[counts >= FEWEST_LEVELS]
        levels = float(np.quantile(counts, NEARLY_ALL)) if len(counts) else math.inf
        if levels <= min(block / 2, MOST_LEVELS):
            grids.append(Grid(math.ceil(math.log2(levels)), block))
    return min(grids, key=lambda grid: (grid.bits, -grid.block), default=None)


@dataclass(frozen=True)
class GridComparison:
    """Whether a checkpoint lies on the grid of its source, and how that is known."""

    shared: bool
    detail: str


def shares_grid(source: Path, folder: Path, checkpoint_format: str, scheme: Scheme) -> GridComparison | None:
    """A checkpoint in `folder` against the grid of its `source`; None where that has none.

    Where its format is read here, nearly all sampled blocks have to be the source's to float16 rounding. Others share
    the grid where bits and group are the source's. Raises CheckpointError.
    """
    grid = find_grid(source)
    if grid is None:
        return None
    reader = READERS.get(checkpoint_format)
    same = _same_blocks(source, reader(folder), scheme.group_size or 32) if reader else None
    if same is not None:
        return GridComparison(
            same >= NEARLY_ALL, f"the checkpoint's weights are the source's again in {same:.0%} of the sampled blocks"
        )
    alike = (scheme.weights, scheme.group_size) == (f"int{grid.bits}", grid.block)
    words = "the same bits and groups as" if alike else "other bits or groups than"
    unread = f"its weights, in format {checkpoint_format}, were not compared"
    return GridComparison(alike, f"the checkpoint has {words} that grid ({unread})")


ReadRows = Callable[[str, int], Rows | None]


def _same_blocks(source: Path, read: ReadRows, block: int) -> float | None:
    """Share of the sampled blocks whose weights are all the source's; None where none can be read."""
    shares = []
    for name, rows in _sampled(source):
        dequantized = read(name, len(rows))
        if dequantized is not None and dequantized.shape == rows.shape and rows.shape[1] % block == 0:
            scales = np.abs(rows).reshape(-1, block).max(axis=1)
            errors = np.abs(rows - dequantized).reshape(-1, block).max(axis=1)
            shares.append(float(np.mean(errors <= SAME * scales)))
    return float(np.mean(shares)) if shares else None


def _sampled(source: Path) -> Iterator[tuple[str, Rows]]:
    """The first rows of some linear layers, evenly spaced."""
    names = [name for name in linear_widths(read_tensors(source)) if not any(word in name for word in PERMUTED)]
    tensors = _Safetensors(source)
    for name in names[:: max(1, len(names) // LAYERS)]:
        rows = tensors.floats(name, ROWS)
        if rows is not None:
            yield name, rows


class _Safetensors:
    """Rows of a folder's tensors, without a library that has a type for bfloat16."""

    def __init__(self, folder: Path) -> None:
        self.entries: dict[str, tuple[Path, int, dict[str, Any]]] = {}
        for path in weight_files(folder):
            with path.open("rb") as file:
                (size,) = struct.unpack("<Q", file.read(8))
                header = json.loads(file.read(size))
            self.entries |= {name: (path, 8 + size, entry) for name, entry in header.items() if name != "__metadata__"}

    def rows(self, name: str, count: int, dtype: str) -> NDArray[Any]:
        path, start, entry = self.entries[name]
        shape = (min(count, entry["shape"][0]), *entry["shape"][1:])
        offset = start + entry["data_offsets"][0]
        return np.array(np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape))

    def floats(self, name: str, count: int) -> Rows | None:
        """None where it is not there, or no float of 16 or 32 bits."""
        kind = self.entries[name][2]["dtype"] if name in self.entries else ""
        if kind not in FLOAT_TYPES:
            return None
        rows = self.rows(name, count, FLOAT_TYPES[kind])
        if kind == "BF16":
            return (rows.astype(np.uint32) << 16).view(np.float32)
        return rows.astype(np.float32)


def _packed_integers(folder: Path) -> ReadRows:
    """What compressed-tensors writes: integers of 4 or 8 bits in words of 32, or a byte each, and their scales."""
    tensors = _Safetensors(folder)

    def read(name: str, count: int) -> Rows | None:
        scales = tensors.floats(f"{name}_scale", count)
        if scales is None or f"{name}_packed" not in tensors.entries:
            return None if scales is None else _scaled_bytes(tensors, name, scales)
        words, groups = tensors.rows(f"{name}_packed", count, "<u4"), scales.shape[1]
        width = int(tensors.rows(f"{name}_shape", 2, "<i8")[1])
        bits = 32 * words.shape[1] // width
        if f"{name}_zero_point" in tensors.entries:  # packed along the other dimension
            packed = tensors.rows(f"{name}_zero_point", -(-count * bits // 32), "<u4")
            zeros = _unpacked(packed.T, bits)[:, :count].T
        else:
            zeros = np.full((1, 1), 2 ** (bits - 1))
        integers = _unpacked(words, bits).reshape(len(words), groups, -1)
        dequantized = (integers - zeros[:, :, None]) * scales[:, :, None]
        return dequantized.reshape(len(words), width).astype(np.float32)

    return read


def _scaled_bytes(tensors: _Safetensors, name: str, scales: Rows) -> Rows | None:
    """Weights of a byte each with a scale for each row, or for all; None where they are of another kind."""
    kind = tensors.entries[name][2]["dtype"] if name in tensors.entries else ""
    if kind not in ("I8", "F8_E4M3"):
        return None
    rows = tensors.rows(name, ROWS, "<i1" if kind == "I8" else "<u1")
    if scales.size not in (1, len(rows)):
        return None
    values = rows.astype(np.float32) if kind == "I8" else _e4m3()[rows]
    scaled: Rows = values * scales.reshape(-1, 1)
    return scaled


def _e4m3() -> Rows:
    """The values of FP8's 256 codes (OCP 8-bit Floating Point Specification, 2023, E4M3)."""
    codes = np.arange(256)
    sign, exponent, mantissa = np.where(codes < 128, 1.0, -1.0), codes >> 3 & 15, codes & 7
    values = np.where(exponent > 0, (8 + mantissa) * 2.0 ** (exponent - 10), mantissa * 2.0**-9)
    return np.where(codes & 127 == 127, np.nan, sign * values).astype(np.float32)


def _unpacked(words: NDArray[np.uint32], bits: int) -> NDArray[np.int64]:
    """The integers in each row of words, the lowest bits first."""
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    integers = (words[:, :, None] >> shifts) & np.uint32(2**bits - 1)
    return integers.reshape(len(words), -1).astype(np.int64)


def _gguf_tensors(folder: Path) -> ReadRows:
    """ggml's own functions, under the names that Transformers gives the layers."""
    from gguf import MODEL_ARCH_NAMES, GGUFReader, get_tensor_name_map  # a large table of constants
    from gguf.quants import dequantize

    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        raise CheckpointError(f"{folder}: has {len(files)} GGUF files, one is expected")
    reader = GGUFReader(files[0])
    field = reader.get_field("general.architecture")
    by_name = {name: architecture for architecture, name in MODEL_ARCH_NAMES.items()}
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    architecture = by_name.get(str(field.contents())) if field else None
    names = get_tensor_name_map(architecture, len(tensors)) if architecture is not None else None

    def read(name: str, count: int) -> Rows | None:
        known = names.get_name(name, try_suffixes=(".weight",)) if names else None
        tensor = tensors.get(str(known))
        return None if tensor is None else dequantize(tensor.data[:count], tensor.tensor_type).astype(np.float32)

    return read


READERS: Mapping[str, Callable[[Path], ReadRows]] = {"compressed-tensors": _packed_integers, "gguf": _gguf_tensors}
