from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file

from quant.checkpoints.safetensors import CheckpointError
from quant.checkpoints.source_grid import Grid, GridComparison, _e4m3, find_grid, shares_grid
from quant.types import Scheme

LAYERS = tuple(f"model.layers.{number}.mlp.down_proj.weight" for number in range(3))
FLOAT_MINIMUM = GGMLQuantizationType.Q4_1
W4_G32 = Scheme("int4", "float16", 32)


@pytest.fixture
def trained() -> dict[str, np.ndarray]:
    """Weights of three layers as training leaves them."""
    random = np.random.default_rng(0)
    return {name: random.normal(0, 0.02, (96, 256)).astype(np.float32) for name in LAYERS}


def write_source(folder: Path, weights: dict[str, np.ndarray]) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    save_file({name: rows.astype(np.float16) for name, rows in weights.items()}, folder / "model.safetensors")
    return folder


def dequantized(weights: dict[str, np.ndarray], kind: GGMLQuantizationType) -> dict[str, np.ndarray]:
    return {name: dequantize(quantize(rows, kind), kind) for name, rows in weights.items()}


def write_gguf(folder: Path, source: dict[str, np.ndarray], kind: GGMLQuantizationType) -> Path:
    folder.mkdir()
    writer = GGUFWriter(folder / "model.gguf", "llama")
    for number, rows in enumerate(source.values()):
        half = rows.astype(np.float16).astype(np.float32)
        writer.add_tensor(f"blk.{number}.ffn_down.weight", quantize(half, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder


def round_to_integers(rows: np.ndarray, group: int) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric four-bit integers, 0 to 15 around 8, and a scale for each group."""
    groups = rows.reshape(len(rows), -1, group)
    scales = (np.abs(groups).max(axis=2) / 7).astype(np.float16)
    integers = np.clip(np.round(groups / scales[:, :, None].astype(np.float32)), -8, 7) + 8
    return integers.reshape(rows.shape).astype(np.uint32), scales


def write_packed(folder: Path, source: dict[str, np.ndarray], group: int) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    tensors: dict[str, np.ndarray] = {}
    for name, rows in source.items():
        integers, scales = round_to_integers(rows, group)
        shifts = np.arange(0, 32, 4, dtype=np.uint32)
        words = (integers.reshape(len(rows), -1, 8) << shifts).sum(axis=2, dtype=np.uint32)
        tensors |= {f"{name}_packed": words.view(np.int32), f"{name}_scale": scales}
        tensors[f"{name}_shape"] = np.array(rows.shape, dtype=np.int64)
    save_file(tensors, folder / "model.safetensors")
    return folder


def _shared(source: Path, folder: Path, checkpoint_format: str, scheme: Scheme) -> bool:
    compared = shares_grid(source, folder, checkpoint_format, scheme)
    assert compared is not None
    return compared.shared


def test_trained_weights_lie_on_no_grid(tmp_path: Path, trained: dict[str, np.ndarray]) -> None:
    source = write_source(tmp_path / "source", trained)
    assert find_grid(source) is None
    quantized = write_gguf(tmp_path / "quantized", trained, FLOAT_MINIMUM)
    assert shares_grid(source, quantized, "gguf", Scheme("Q4_1")) is None


def test_bfloat16_is_no_grid_though_it_has_few_values(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    rows = np.random.default_rng(0).normal(0, 0.02, (64, 4096)).astype(np.float32)
    halves = (rows.view(np.uint32) >> 16).astype("<u2")
    header = {LAYERS[0]: {"dtype": "BF16", "shape": list(rows.shape), "data_offsets": [0, halves.nbytes]}}
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + halves.tobytes())
    assert find_grid(folder) is None


@pytest.mark.parametrize("kind", [GGMLQuantizationType.Q4_1, GGMLQuantizationType.Q4_0])
def test_the_grid_of_dequantized_weights_is_found(
    tmp_path: Path, trained: dict[str, np.ndarray], kind: GGMLQuantizationType
) -> None:
    assert find_grid(write_source(tmp_path / "source", dequantized(trained, kind))) == Grid(4, 32)


def test_eight_bits_by_channel_are_found_in_long_rows(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(0, 0.02, (64, 1024)).astype(np.float32)
    step = np.abs(rows).max(axis=1, keepdims=True) / 127
    source = write_source(tmp_path / "source", {LAYERS[0]: np.round(rows / step) * step})
    assert find_grid(source) == Grid(8, 1024)


def test_pruned_weights_are_no_grid(tmp_path: Path, trained: dict[str, np.ndarray]) -> None:
    zeros = {name: np.zeros_like(rows) for name, rows in trained.items()}
    assert find_grid(write_source(tmp_path / "source", zeros)) is None


def test_the_same_rounding_again_shares_the_grid_and_another_does_not(
    tmp_path: Path, trained: dict[str, np.ndarray]
) -> None:
    weights = dequantized(trained, FLOAT_MINIMUM)
    source = write_source(tmp_path / "source", weights)
    again = write_gguf(tmp_path / "again", weights, FLOAT_MINIMUM)
    compared = shares_grid(source, again, "gguf", Scheme("Q4_1"))
    assert compared == GridComparison(
        True, "the checkpoint's weights are the source's again in 100% of the sampled blocks"
    )
    for kind in (GGMLQuantizationType.Q4_0, GGMLQuantizationType.Q8_0):
        other = write_gguf(tmp_path / kind.name, weights, kind)
        assert not _shared(source, other, "gguf", Scheme(kind.name))


def test_packed_integers_share_the_grid_of_their_own_groups_alone(
    tmp_path: Path, trained: dict[str, np.ndarray]
) -> None:
    on_grid = {}
    for name, rows in trained.items():
        integers, scales = round_to_integers(rows, 32)
        values = (integers.astype(np.float32) - 8).reshape(len(rows), -1, 32) * scales[:, :, None].astype(np.float32)
        on_grid[name] = values.reshape(rows.shape)
    source = write_source(tmp_path / "source", on_grid)
    same = write_packed(tmp_path / "same", on_grid, 32)
    other = write_packed(tmp_path / "other", on_grid, 128)
    assert _shared(source, same, "compressed-tensors", W4_G32)
    assert not _shared(source, other, "compressed-tensors", Scheme("int4", "float16", 128))


@pytest.mark.parametrize("kind", ["I8", "F8_E4M3"])
def test_bytes_with_a_scale_for_each_row_share_the_grid_of_the_same_bytes(tmp_path: Path, kind: str) -> None:
    """A model that was born in eight bits, rounded to the very same bytes, and to others."""
    codes = np.random.default_rng(0).integers(0, 120, (64, 1024)).astype(np.uint8)
    codes[:, ::2] += 128
    scales = np.random.default_rng(1).uniform(0.5, 2, (64, 1)).astype(np.float16)
    values = codes.view(np.int8).astype(np.float32) if kind == "I8" else _e4m3()[codes]
    source = write_source(tmp_path / "source", {LAYERS[0]: values * 0.001 * scales.astype(np.float32)})
    halves = (scales.astype(np.float32) * 0.001).astype(np.float16)
    same = _write_bytes(tmp_path / "same", kind, codes, halves)
    other = _write_bytes(tmp_path / "other", kind, np.roll(codes, 1, axis=1), halves)
    assert find_grid(source) is not None
    assert _shared(source, same, "compressed-tensors", Scheme("int8", "int8"))
    assert not _shared(source, other, "compressed-tensors", Scheme("int8", "int8"))


def _write_bytes(folder: Path, kind: str, codes: np.ndarray, scales: np.ndarray) -> Path:
    """A layer of a byte a weight as compressed-tensors writes it; numpy has no type for FP8."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    header, data = {}, b""
    for name, dtype, tensor in ((LAYERS[0], kind, codes), (f"{LAYERS[0]}_scale", "F16", scales)):
        header[name] = {
            "dtype": dtype,
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + tensor.nbytes],
        }
        data += tensor.tobytes()
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    return folder


def test_a_format_that_is_not_read_here_is_judged_by_its_bits_and_groups(
    tmp_path: Path, trained: dict[str, np.ndarray]
) -> None:
    source = write_source(tmp_path / "source", dequantized(trained, FLOAT_MINIMUM))
    compared = shares_grid(source, tmp_path, "mlx", W4_G32)
    assert compared == GridComparison(
        True, "the checkpoint has the same bits and groups as that grid (its weights, in format mlx, were not compared)"
    )
    compared = shares_grid(source, tmp_path, "mlx", Scheme("int4", "float16", 64))
    assert compared == GridComparison(
        False, "the checkpoint has other bits or groups than that grid (its weights, in format mlx, were not compared)"
    )
    assert not _shared(source, tmp_path, "mlx", Scheme("int8", "float16", 32))


def test_two_gguf_files_are_an_error(tmp_path: Path, trained: dict[str, np.ndarray]) -> None:
    source = write_source(tmp_path / "source", dequantized(trained, FLOAT_MINIMUM))
    folder = write_gguf(tmp_path / "again", trained, FLOAT_MINIMUM)
    (folder / "second.gguf").touch()
    with pytest.raises(CheckpointError, match="has 2 GGUF files, one is expected"):
        shares_grid(source, folder, "gguf", Scheme("Q4_1"))
