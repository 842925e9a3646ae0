"""Configurations as the tools write them (abridged), and what is read from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter, LlamaFileType

from quant.checkpoints.detect import check_declared, recognise
from quant.checkpoints.safetensors import CheckpointError
from quant.types import Scheme

INT4 = {"num_bits": 4, "type": "int", "symmetric": False, "group_size": 64, "strategy": "group"}
FP8 = {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "tensor", "dynamic": False}
FP4 = {"num_bits": 4, "type": "float", "symmetric": True, "group_size": 16}


def _compressed(weights: dict[str, Any], inputs: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": {"weights": weights, "input_activations": inputs}},
        **more,
    }


KNOWN: dict[str, tuple[dict[str, Any], str]] = {
    "compressed int4": (_compressed(INT4), "W4A16-g64-asym"),
    "compressed fp8 static": (_compressed(FP8, FP8), "FP8-static"),
    "compressed fp8 dynamic": (_compressed(FP8, {**FP8, "dynamic": True}), "FP8-dynamic"),
    "compressed fp8 weights": (_compressed(FP8), "W8A16-fp8"),
    "compressed kv": (_compressed(FP8, FP8, kv_cache_scheme=FP8), "FP8-static-kv-fp8"),
    "compressed int8": (
        _compressed({"num_bits": 8, "type": "int"}, {"num_bits": 8, "type": "int", "dynamic": True}),
        "W8A8-int8",
    ),
    "compressed nvfp4": (_compressed(FP4, FP4, format="nvfp4-pack-quantized"), "NVFP4"),
    "compressed nvfp4 weights": (_compressed(FP4, format="nvfp4-pack-quantized"), "NVFP4A16"),
    "gptq": ({"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True, "desc_act": True}, "W4A16-g128"),
    "gptq channels": ({"quant_method": "gptq", "bits": 8, "group_size": -1, "sym": False}, "W8A16-asym"),
    "gptq by layer": (
        {"quant_method": "gptq", "bits": 4, "group_size": 64, "dynamic": {"layers.0": {"bits": 8}}},
        "mixed",
    ),
    "awq": (
        {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"},
        "W4A16-g128-asym",
    ),
    "awq, old names": ({"quant_method": "awq", "w_bit": 4, "q_group_size": 64, "zero_point": False}, "W4A16-g64"),
    "nf4": ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "NF4"),
    "llm.int8": ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "W8A8-int8"),
    "fp8 in blocks": (
        {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]},
        "FP8-dynamic",
    ),
    "modelopt fp8": ({"quant_method": "modelopt", "quant_algo": "FP8"}, "FP8-static"),
    "modelopt smoothquant": ({"quant_method": "modelopt", "quant_algo": "W8A8_SQ_PER_CHANNEL"}, "W8A8-int8"),
    "modelopt awq": ({"quant_method": "modelopt", "quant_algo": "W4A16_AWQ", "group_size": 64}, "W4A16-g64"),
    "modelopt w4a8": ({"quant_method": "modelopt", "quant_algo": "W4A8_AWQ", "group_size": 64}, "W4A8-fp8-g64"),
    "torchao": ({"quant_method": "torchao", "quant_type": {"default": {"_type": "Int8WeightOnlyConfig"}}}, "W8A16"),
    "torchao in groups": (
        {
            "quant_method": "torchao",
            "quant_type": {
                "default": {
                    "_type": "IntxWeightOnlyConfig",
                    "_data": {
                        "granularity": {"_type": "PerGroup", "_data": {"group_size": 64}},
                        "mapping_type": {"_data": "ASYMMETRIC"},
                        "weight_dtype": {"_data": "int4"},
                    },
                }
            },
        },
        "W4A16-g64-asym",
    ),
    "torchao unknown": ({"quant_method": "torchao", "quant_type": "int4_weight_only"}, "torchao-int4_weight_only"),
    "modelopt unknown": ({"quant_method": "modelopt", "quant_algo": "W3A3"}, "W3A3"),
}


def _write(folder: Path, settings: dict[str, Any] | None = None, **config: Any) -> Path:
    merged = {**config, **({"quantization_config": settings} if settings else {})}
    (folder / "config.json").write_text(json.dumps(merged))
    return folder


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_configuration_tells_format_and_numbers(tmp_path: Path, name: str) -> None:
    settings, label = KNOWN[name]
    detected = recognise(_write(tmp_path, settings))
    assert detected.format == settings["quant_method"]
    assert detected.scheme.label == label


def test_layers_that_differ_are_mixed(tmp_path: Path) -> None:
    settings = _compressed(INT4)
    settings["config_groups"]["group_1"] = {"weights": FP8, "input_activations": FP8}
    assert recognise(_write(tmp_path, settings)).scheme == Scheme("mixed")


def test_files_that_old_tools_wrote_beside_the_configuration_are_read(tmp_path: Path) -> None:
    (tmp_path / "quantize_config.json").write_text(json.dumps({"bits": 4, "group_size": 32, "sym": True}))
    assert recognise(_write(tmp_path)).scheme.label == "W4A16-g32"
    (tmp_path / "quantize_config.json").unlink()
    (tmp_path / "hf_quant_config.json").write_text(json.dumps({"quantization": {"quant_algo": "FP8"}}))
    assert recognise(tmp_path).format == "modelopt"


def test_weights_without_quantization_are_told_by_their_type(tmp_path: Path) -> None:
    assert recognise(_write(tmp_path, dtype="bfloat16")).scheme.label == "bfloat16"
    assert recognise(_write(tmp_path, torch_dtype="float16")).format == "safetensors"


def test_an_unknown_tool_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="quantized by 'aqlm', which is not one of awq, bitsandbytes, "):
        recognise(_write(tmp_path, {"quant_method": "aqlm"}))


def test_a_folder_without_a_readable_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read"):
        recognise(tmp_path)


def _write_gguf(file: Path, kind: LlamaFileType | None, *matrices: str) -> None:
    writer = GGUFWriter(file, "llama")
    for number, dtype in enumerate(matrices):
        writer.add_tensor(f"{number}.weight", np.zeros((2, 32), dtype))
    writer.add_tensor("norm.weight", np.zeros(32, "float32"))
    if kind is not None:
        writer.add_file_type(kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize(
    ("kind", "label"),
    [(LlamaFileType.MOSTLY_Q4_K_M, "Q4_K_M"), (LlamaFileType.MOSTLY_F16, "float16"), (None, "unknown")],
)
def test_a_gguf_names_its_type(tmp_path: Path, kind: LlamaFileType | None, label: str) -> None:
    _write_gguf(tmp_path / "some.gguf", kind)
    detected = recognise(tmp_path)
    assert (detected.format, detected.scheme.label) == ("gguf", label)


@pytest.mark.parametrize(
    ("matrices", "label"), [(("float16", "float16"), "float16"), (("float16", "float32"), "unknown"), ((), "unknown")]
)
def test_a_gguf_without_a_type_has_that_of_all_its_matrices(
    tmp_path: Path, matrices: tuple[str, ...], label: str
) -> None:
    _write_gguf(tmp_path / "some.gguf", None, *matrices)
    assert recognise(tmp_path).scheme.label == label


def test_a_gguf_in_parts_and_one_that_is_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"not GGUF" * 8)
    with pytest.raises(CheckpointError, match=r"a\.gguf: is not a GGUF file"):
        recognise(tmp_path)
    (tmp_path / "b.gguf").write_bytes(b"")
    with pytest.raises(CheckpointError, match="has 2 GGUF files; one file with the whole model is read"):
        recognise(tmp_path)


@pytest.mark.parametrize(
    ("noted", "label"),
    [
        (
            '<nncf><weight_compression><mode value="int4_asym"/><group_size value="64"/></weight_compression></nncf>',
            "W4A16-g64-asym",
        ),
        (
            '<nncf><weight_compression><mode value="int8_sym"/><group_size value="-1"/></weight_compression></nncf>',
            "W8A16",
        ),
        ("", "float16"),
    ],
)
def test_an_openvino_model_notes_its_compression(tmp_path: Path, noted: str, label: str) -> None:
    (tmp_path / "openvino_model.xml").write_text(f"<net><rt_info>{noted}</rt_info></net>")
    detected = recognise(tmp_path)
    assert (detected.format, detected.scheme.label) == ("openvino", label)


def test_an_openvino_model_that_is_no_xml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "openvino_model.xml").write_text("<net")
    with pytest.raises(CheckpointError, match="is not an OpenVINO model"):
        recognise(tmp_path)


def test_a_method_cannot_say_what_its_files_do_not(tmp_path: Path) -> None:
    _write(tmp_path, KNOWN["gptq"][0])
    check_declared(tmp_path, "gptq", Scheme("int4", "float16", 128))
    check_declared(tmp_path, "gptq", Scheme("unknown"))
    check_declared(tmp_path, "a format of somebody's", Scheme("int4"))
    with pytest.raises(CheckpointError, match="the method says awq, its files say gptq"):
        check_declared(tmp_path, "awq", Scheme("int4"))
    message = r"the method says \(its files say\) weights int8 \(int4\), group_size None \(128\)"
    with pytest.raises(CheckpointError, match=message):
        check_declared(tmp_path, "gptq", Scheme("int8"))
