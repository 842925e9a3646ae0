from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest

from quant.checkpoints.safetensors import (
    CheckpointError,
    Tensor,
    bits_per_weight,
    hash_file,
    linear_widths,
    read_header,
    read_tensors,
)
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


def _index(folder: Path, *files: str) -> None:
    weight_map = {f"x{number}.weight": file for number, file in enumerate(files)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_what_lies_beside_the_index_is_not_counted(tmp_path: Path) -> None:
    """Mistral's layout: the same weights again under other names."""
    names = ["model-1-of-2.safetensors", "model-2-of-2.safetensors"]
    for number, name in enumerate([*names, "consolidated.safetensors"]):
        write_safetensors(tmp_path / name, {f"x{number}.weight": ("F16", (2, 3), 12)})
    assert len(read_tensors(tmp_path)) == 3
    _index(tmp_path, *names)
    assert set(read_tensors(tmp_path)) == {"x0.weight", "x1.weight"}
    write_safetensors(tmp_path / "model.safetensors", {"whole.weight": ("F16", (2, 3), 12)})
    assert set(read_tensors(tmp_path)) == {"whole.weight"}


def test_a_missing_shard_is_refused(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model-1-of-2.safetensors", {"x0.weight": ("F16", (2, 3), 12)})
    _index(tmp_path, "model-1-of-2.safetensors", "model-2-of-2.safetensors")
    with pytest.raises(CheckpointError, match=r"names model-2-of-2\.safetensors, which is not in the folder"):
        read_tensors(tmp_path)


def test_an_index_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(CheckpointError, match="is not an index of safetensors files"):
        read_tensors(tmp_path)


@pytest.mark.parametrize(("config", "count"), [('{"tie_word_embeddings": true}', 1), ("{}", 2), ("[]", 2), ("x", 2)])
def test_a_tied_head_that_is_saved_twice_counts_once(tmp_path: Path, config: str, count: int) -> None:
    (tmp_path / "config.json").write_text(config)
    tensors = {"model.embed_tokens.weight": ("F16", (2, 3), 12), "lm_head.weight": ("F16", (2, 3), 12)}
    write_safetensors(tmp_path / "model.safetensors", tensors)
    assert len(read_tensors(tmp_path)) == count


def test_linear_bits_are_those_of_layers_in_the_source(tmp_path: Path) -> None:
    """Fused experts that a method took apart are in the checkpoint only."""
    source = {"a.weight": Tensor("a.weight", "F16", (8, 8), 128), "experts": Tensor("experts", "F16", (4, 8, 8), 512)}
    checkpoint = {
        name: Tensor(name, "I32", (size // 4,), size)
        for name, size in (("a.weight_packed", 32), ("experts.0.weight_packed", 32), ("experts.1.weight_packed", 32))
    }
    assert bits_per_weight(source, checkpoint)[1] == 4.0


WRONG: dict[str, tuple[bytes, str]] = {
    "cut off in the header": (struct.pack("<Q", 80) + b"{}", "invalid header length"),
    "nothing": (b"", "header too small"),
    "a header that lies about its length": (struct.pack("<Q", 1 << 60) + b"{}", "header too large"),
    "a header that is no JSON": (struct.pack("<Q", 4) + b"nope", "invalid JSON in header"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    content, message = WRONG[name]
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"a\.safetensors: is not a whole safetensors file \(.*{message}"):
        read_header(tmp_path / "a.safetensors")


def test_a_pointer_of_git_lfs_is_said_to_be_one(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 269060552\n"
    (tmp_path / "a.safetensors").write_text(pointer)
    with pytest.raises(CheckpointError, match=r"a\.safetensors: is a pointer of Git LFS.*git lfs pull"):
        read_header(tmp_path / "a.safetensors")


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    write_safetensors(file, {"x": ("F16", (2, 3), 12)})
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"not fully covered\); it was cut off or damaged"):
        read_header(file)


def test_an_unknown_type_is_refused(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a.safetensors", {"x": ("Q7", (2,), 2)})
    with pytest.raises(CheckpointError, match="unknown variant `Q7`"):
        read_header(tmp_path / "a.safetensors")


def test_bytes_that_do_not_fit_the_shape_are_refused(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a.safetensors", {"x": ("F32", (2,), 4)})
    with pytest.raises(CheckpointError, match="invalid shape, data type, or offset"):
        read_header(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("dtype", "size"),
    [("BOOL", 16), ("F4", 8), ("F6_E2M3", 12), ("F8_E4M3", 16), ("F8_E8M0", 16), ("BF16", 32), ("F64", 128)],
)
def test_types_that_numpy_lacks_have_their_bytes(tmp_path: Path, dtype: str, size: int) -> None:
    write_safetensors(tmp_path / "a.safetensors", {"x": (dtype, (8, 2), size)})
    assert read_header(tmp_path / "a.safetensors") == {"x": Tensor("x", dtype, (8, 2), size)}


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


def test_only_regular_files_are_hashed(tmp_path: Path) -> None:
    """An executable of a plan may be a pipe."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        hash_file(tmp_path / "pipe")
