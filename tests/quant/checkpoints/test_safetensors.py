from __future__ import annotations

import struct
from pathlib import Path

import pytest

from quant.checkpoints.safetensors import CheckpointError, bits_per_weight, linear_widths, read_header, read_tensors
from tests.support.checkpoints import write_safetensors


def test_headers_are_read_without_weights(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a.safetensors", {"x.weight": ("F16", (2, 3), 12), "y": ("F8_E4M3", (4,), 4)})
    tensors = read_tensors(tmp_path)
    assert tensors["x.weight"].shape == (2, 3)
    assert tensors["y"].bytes == 4


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(CheckpointError, match="pickled weights are never loaded"):
        read_tensors(tmp_path)


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    write_safetensors(file, {"x": ("F16", (2, 3), 12)})
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="it was cut off"):
        read_header(file)


def test_a_header_that_lies_about_length_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
    with pytest.raises(CheckpointError, match="not that of a safetensors file"):
        read_header(file)


def test_a_header_that_is_no_json_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(struct.pack("<Q", 4) + b"nope")
    with pytest.raises(CheckpointError, match="header is not JSON"):
        read_header(file)


def test_an_unknown_type_is_refused(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a.safetensors", {"x": ("Q7", (2,), 2)})
    with pytest.raises(CheckpointError, match="unknown type Q7"):
        read_header(tmp_path / "a.safetensors")


def test_bytes_that_do_not_fit_the_shape_are_refused(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a.safetensors", {"x": ("F32", (2,), 4)})
    with pytest.raises(CheckpointError, match="has 4 bytes for"):
        read_header(tmp_path / "a.safetensors")


def test_widths_leave_out_what_is_not_quantized(tiny_model: Path) -> None:
    assert set(linear_widths(read_tensors(tiny_model)).values()) == {96, 192}


def test_bits_of_bitsandbytes_layers(tmp_path: Path) -> None:
    for name in ("source", "nf4", "int8"):
        (tmp_path / name).mkdir()
    write_safetensors(tmp_path / "source" / "a.safetensors", {"m.q_proj.weight": ("F16", (64, 64), 8192)})
    nf4 = {"m.q_proj.weight": ("U8", (2048, 1), 2048), "m.q_proj.weight.absmax": ("F32", (64,), 256)}
    write_safetensors(tmp_path / "nf4" / "a.safetensors", nf4)
    int8 = {"m.q_proj.weight": ("I8", (64, 64), 4096), "m.q_proj.SCB": ("F32", (64,), 256)}
    write_safetensors(tmp_path / "int8" / "a.safetensors", int8)
    source = read_tensors(tmp_path / "source")
    assert bits_per_weight(source, read_tensors(tmp_path / "nf4")) == (4.5, 4.5)
    assert bits_per_weight(source, read_tensors(tmp_path / "int8")) == (8.5, 8.5)


def test_bits_per_weight_by_hand(tmp_path: Path) -> None:
    source, made = tmp_path / "s", tmp_path / "q"
    source.mkdir()
    made.mkdir()
    write_safetensors(source / "a.safetensors", {"l.weight": ("F16", (64, 64), 8192), "e": ("F16", (64,), 128)})
    packed = {
        "l.weight_packed": ("I32", (64, 8), 2048),
        "l.weight_scale": ("F16", (64, 1), 128),
        "e": ("F16", (64,), 128),
    }
    write_safetensors(made / "a.safetensors", packed)
    total, linear = bits_per_weight(read_tensors(source), read_tensors(made))
    assert linear == pytest.approx(8 * (2048 + 128) / 4096)
    assert total == pytest.approx(8 * (2048 + 128 + 128) / (4096 + 64))


def test_an_unquantized_checkpoint_has_no_linear_figure(tiny_model: Path) -> None:
    tensors = read_tensors(tiny_model)
    assert bits_per_weight(tensors, tensors) == (16.0, None)
