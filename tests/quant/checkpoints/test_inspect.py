from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter

from quant.checkpoints.gguf import read_gguf_file
from quant.checkpoints.inspect import decode_bytes, inspect_weights, read_gguf, read_openvino
from quant.checkpoints.safetensors import CheckpointError
from tests.support.checkpoints import write_safetensors


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """One layer of 64 × 64 and a norm, in float16."""
    folder = tmp_path / "source"
    folder.mkdir()
    tensors = {
        "model.layers.0.self_attn.q_proj.weight": ("F16", (64, 64), 8192),
        "model.norm.weight": ("F16", (64,), 128),
    }
    write_safetensors(folder / "model.safetensors", tensors)
    return folder


def _write_gguf(file: Path, more: Callable[[GGUFWriter], None] = lambda _: None) -> None:
    writer = GGUFWriter(file, "llama")
    more(writer)
    blocks = np.zeros((64, 64 // 32 * 34), dtype=np.uint8)  # Q8_0: 32 weights in 34 bytes
    writer.add_tensor("blk.0.attn_q.weight", blocks, raw_dtype=GGMLQuantizationType.Q8_0)
    writer.add_tensor("output_norm.weight", np.zeros(64, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_tells_its_real_types(tmp_path: Path, source: Path) -> None:
    _write_gguf(tmp_path / "model.gguf")
    assert {name: (tensor.dtype, tensor.elements) for name, tensor in read_gguf(tmp_path).items()} == {
        "blk.0.attn_q.weight": ("Q8_0", 4096),
        "output_norm.weight": ("F32", 64),
    }
    contents = inspect_weights("gguf", source, tmp_path)
    assert contents.tensor_types == {"Q8_0": 1, "F32": 1}
    assert contents.linear_bits_per_weight == 8.5
    assert contents.bits_per_weight == pytest.approx(8 * (64 * 68 + 64 * 4) / 4160)


def test_a_folder_has_one_gguf(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has 0 GGUF files, one is expected"):
        read_gguf(tmp_path)


def test_a_tokenizer_in_a_gguf_is_stepped_over(tmp_path: Path) -> None:
    def tokenizer(writer: GGUFWriter) -> None:
        writer.add_token_list(["a", "", "ü" * 300])
        writer.add_token_scores([0.5, 1.5, 2.5])
        writer.add_array("flags", [True, False])
        writer.add_array("lists", [[1, 2], [3]])
        writer.add_file_type(7)

    _write_gguf(tmp_path / "model.gguf", tokenizer)
    ours, theirs = read_gguf_file(tmp_path / "model.gguf"), GGUFReader(tmp_path / "model.gguf")
    assert ours.file_type == 7
    assert [(tensor.name, tensor.dtype, tensor.shape, tensor.bytes) for tensor in ours.tensors.values()] == [
        (tensor.name, tensor.tensor_type.name, tuple(tensor.shape), tensor.n_bytes) for tensor in theirs.tensors
    ]


def test_a_gguf_cut_off_within_its_words_is_refused(tmp_path: Path) -> None:
    _write_gguf(tmp_path / "model.gguf", lambda writer: writer.add_token_list(["word"] * 1000))
    (tmp_path / "model.gguf").write_bytes((tmp_path / "model.gguf").read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=r"model\.gguf: is not a GGUF file"):
        read_gguf(tmp_path)


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"not GGUF" * 8)
    with pytest.raises(CheckpointError, match=r"model\.gguf: is not a GGUF file"):
        read_gguf(tmp_path)


CONST = (
    '<layer name="{name}" type="Const"><data element_type="{type}" shape="{shape}" offset="0" size="{size}"/></layer>'
)


def _write_openvino(folder: Path, weights: str, size: int, name: str = "self.transformer.h.0.mlp.dense") -> None:
    scale = CONST.format(name=name + "/scale", type="f16", shape="64, 1, 1", size=128)
    layers = [
        CONST.format(name=name, type=weights, shape="64, 64", size=size),
        *([] if weights == "f16" else [scale]),
        CONST.format(name="norm", type="f16", shape="64", size=128),
        CONST.format(name="axis", type="i64", shape="", size=8),
        '<layer name="add" type="Add"/>',
    ]
    (folder / "openvino_model.xml").write_text(f"<net><layers>{''.join(layers)}</layers></net>")


def test_openvino_constants_without_indexes(tmp_path: Path, source: Path) -> None:
    _write_openvino(tmp_path, "u4", 2048)
    contents = inspect_weights("openvino", source, tmp_path)
    assert contents.tensor_types == {"u4": 1, "f16": 2}
    assert contents.linear_bits_per_weight == 4.25
    assert contents.bits_per_weight == pytest.approx(8 * (2048 + 256) / 4160)


@pytest.mark.parametrize(
    "name",
    [
        "self.model.embed_tokens._openvino_orig_weight",
        "self.transformer.wpe._openvino_orig_weight",
        "self.transformer.wte._openvino_orig_weight",
        "self.model.decoder.embed_positions._openvino_orig_weight",
        "self.lm_head._openvino_orig_weight",
        "self.embed_out._openvino_orig_weight",
    ],
)
def test_embeddings_and_the_head_are_no_linear_layers_of_openvino(name: str, tmp_path: Path, source: Path) -> None:
    _write_openvino(tmp_path, "u8", 4096, name)
    assert inspect_weights("openvino", source, tmp_path).linear_bits_per_weight is None


def test_a_matrix_that_openvino_left_as_floats_counts(tmp_path: Path, source: Path) -> None:
    _write_openvino(tmp_path, "u4", 2048)
    file = tmp_path / "openvino_model.xml"
    left = CONST.format(name="self.transformer.h.1.mlp.dense", type="f16", shape="64, 64", size=8192)
    file.write_text(file.read_text().replace("<layers>", f"<layers>{left}"))
    assert inspect_weights("openvino", source, tmp_path).linear_bits_per_weight == (4.25 + 16) / 2


def test_an_uncompressed_openvino_model_has_no_quantized_layers(tmp_path: Path, source: Path) -> None:
    _write_openvino(tmp_path, "f16", 8192)
    assert inspect_weights("openvino", source, tmp_path).linear_bits_per_weight is None


def test_a_broken_openvino_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not an OpenVINO model"):
        read_openvino(tmp_path)
    (tmp_path / "openvino_model.xml").write_text("<net>")
    with pytest.raises(CheckpointError, match="is not an OpenVINO model"):
        read_openvino(tmp_path)


def test_safetensors_are_read_as_before(source: Path) -> None:
    contents = inspect_weights("safetensors", source, source)
    assert (contents.bits_per_weight, contents.linear_bits_per_weight) == (16.0, None)
    assert contents.tensor_types == {"F16": 2}


MATRIX = ("F16", (64, 64), 8192)


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight"], 2 * 8192),  # one matrix for both ends
        (["model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight", "lm_head.weight"], 2 * 8192),
        (["transformer.wte.weight", "transformer.h.0.mlp.c_fc.weight", "lm_head.weight_packed"], 2 * 8192),
        (["gpt_neox.embed_in.weight", "embed_out.weight"], 8192),
        (["model.embed_tokens.weight", "model.layers.0.attn.output.weight"], 2 * 8192),  # no head by its name
        (["model.embed_tokens.weight", "model.layers.0.mlp.experts.0.up_proj.weight"], None),
    ],
)
def test_what_a_decoded_token_reads(tmp_path: Path, names: list[str], wanted: int | None) -> None:
    write_safetensors(tmp_path / "model.safetensors", dict.fromkeys(names, MATRIX))
    assert decode_bytes("compressed-tensors", tmp_path) == wanted


def test_what_a_decoded_token_reads_of_a_gguf(tmp_path: Path) -> None:
    _write_gguf(tmp_path / "model.gguf")
    assert decode_bytes("gguf", tmp_path) == 64 * 64 // 32 * 34 + 64 * 4
