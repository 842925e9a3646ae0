"""What a folder of weights that somebody else made holds, told from its configuration: format and numeric scheme.

Standard library only. The configurations' fields are those that each tool writes and Transformers reads
(`quantization_config` of `config.json`), ModelOpt's older `hf_quant_config.json`, GGUF's and OpenVINO's own files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from quant.canonical_json import read_regular
from quant.checkpoints.safetensors import MAKE_AGAIN, CheckpointError
from quant.errors import reading
from quant.types import Scheme

Settings = Mapping[str, Any]
GGUF_FLOATS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
FLOAT4 = {"nvfp4-pack-quantized": "NVFP4", "mxfp4-pack-quantized": "MXFP4"}
MODELOPT = {
    "FP8": Scheme("fp8", "fp8", static_activations=True),
    "FP8_PER_CHANNEL_PER_TOKEN": Scheme("fp8", "fp8"),
    "NVFP4": Scheme("NVFP4", "nvfp4", 16),
    "W4A16_NVFP4": Scheme("NVFP4A16", "float16", 16),
    "W8A8_SQ_PER_CHANNEL": Scheme("int8", "int8", static_activations=True),
    "INT8_SQ": Scheme("int8", "int8", static_activations=True),
}
TORCHAO = {
    "Int8WeightOnlyConfig": Scheme("int8", "float16"),
    "Int8DynamicActivationInt8WeightConfig": Scheme("int8", "int8"),
    "Float8WeightOnlyConfig": Scheme("fp8", "float16"),
}


@dataclass(frozen=True)
class Recognised:
    """The checkpoint format that engines declare support for, and the numbers of the quantized layers."""

    format: str
    scheme: Scheme


def recognise(folder: Path) -> Recognised:
    """Look at the names of the files and at the configuration. Raises CheckpointError with what was found."""
    with reading(folder, CheckpointError, MAKE_AGAIN):
        return _recognised(folder)


def _recognised(folder: Path) -> Recognised:
    if files := sorted(folder.glob("*.gguf")):
        return Recognised("gguf", _gguf(files))
    if (folder / "openvino_model.xml").exists():
        return Recognised("openvino", _openvino(folder / "openvino_model.xml"))
    config = read_config(folder)
    settings = quantization_settings(folder, config)
    if not settings:
        dtype = str(config.get("dtype") or config.get("torch_dtype") or "float32")
        return Recognised("safetensors", Scheme(dtype, dtype))
    name = str(settings.get("quant_method", ""))
    if name not in READERS:
        raise CheckpointError(
            f"{folder}: quantized by '{name or 'unknown'}', which is not one of {', '.join(sorted(READERS))}"
        )
    return Recognised(name, READERS[name](settings))


def check_declared(folder: Path, checkpoint_format: str, scheme: Scheme) -> None:
    """Whether the files say what the method says of them. Raises CheckpointError.

    Formats that only a third party's method and engine know are theirs to check.
    """
    if checkpoint_format not in (*READERS, "safetensors", "gguf", "openvino"):
        return
    detected = recognise(folder)
    if detected.format != checkpoint_format:
        raise CheckpointError(f"{folder}: the method says {checkpoint_format}, its files say {detected.format}")
    if scheme.weights != "unknown" and detected.scheme != scheme:
        ours, theirs = vars(scheme), vars(detected.scheme)
        differ = [f"{name} {ours[name]} ({theirs[name]})" for name in ours if ours[name] != theirs[name]]
        raise CheckpointError(f"{folder}: the method says (its files say) {', '.join(differ)}")


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's `config.json`. Raises CheckpointError."""
    return _read_json(folder / "config.json")


def _read_json(file: Path) -> dict[str, Any]:
    with reading(file, CheckpointError, MAKE_AGAIN):
        document = json.loads(read_regular(file))
        if not isinstance(document, dict):
            raise CheckpointError(f"{file}: it holds a {type(document).__name__}, no mapping. {MAKE_AGAIN}")
        return document


def quantization_settings(folder: Path, config: Settings) -> Settings:
    """`quantization_config`, or what AutoGPTQ and ModelOpt write into files of their own; empty if not quantized."""
    if config.get("quantization_config"):
        return {**_modelopt_file(folder), **config["quantization_config"]}
    if (folder / "quantize_config.json").exists():
        return {"quant_method": "gptq", **_read_json(folder / "quantize_config.json")}
    return _modelopt_file(folder)


def _modelopt_file(folder: Path) -> Settings:
    """What ModelOpt says in a file of its own, the group size among it."""
    if not (folder / "hf_quant_config.json").exists():
        return {}
    inner = _read_json(folder / "hf_quant_config.json").get("quantization", {})
    return {"quant_method": "modelopt", **inner}


def _compressed_tensors(settings: Settings) -> Scheme:
    groups = [group for group in settings.get("config_groups", {}).values() if group.get("weights")]
    kv = settings.get("kv_cache_scheme")
    kv_cache = None if not kv else "fp8" if kv.get("type") == "float" else f"int{kv['num_bits']}"
    schemes = {_compressed_group(group, str(settings.get("format", "")), kv_cache) for group in groups}
    return schemes.pop() if len(schemes) == 1 else Scheme("mixed")


def _compressed_group(group: Settings, file_format: str, kv_cache: str | None) -> Scheme:
    weights, activations = group["weights"], group.get("input_activations") or {}
    size, symmetric = _group_size(weights.get("group_size")), bool(weights.get("symmetric", True))
    static = bool(activations) and not activations.get("dynamic", False)
    if weights.get("type") == "float" and weights["num_bits"] == 4:
        name = FLOAT4.get(str(group.get("format") or file_format), "FP4")
        return Scheme(name if activations else f"{name}A16", name.lower() if activations else "float16", size)
    kind = "fp8" if weights.get("type") == "float" else f"int{weights['num_bits']}"
    inputs = "float16" if not activations else "fp8" if activations.get("type") == "float" else "int8"
    return Scheme(kind, inputs, size, symmetric, static, kv_cache)


def _gptq(settings: Settings) -> Scheme:
    if settings.get("dynamic"):
        return Scheme("mixed")
    bits, symmetric = int(settings["bits"]), bool(settings.get("sym", True))
    return Scheme(f"int{bits}", "float16", _group_size(settings.get("group_size")), symmetric)


def _awq(settings: Settings) -> Scheme:
    bits = int(settings.get("bits", settings.get("w_bit", 4)))
    size = _group_size(settings.get("group_size", settings.get("q_group_size")))
    return Scheme(f"int{bits}", "float16", size, not settings.get("zero_point", True))


def _bitsandbytes(settings: Settings) -> Scheme:
    if settings.get("load_in_8bit") or settings.get("_load_in_8bit"):
        return Scheme("int8", "int8")
    return Scheme(str(settings.get("bnb_4bit_quant_type", "nf4")).upper())


def _fp8(settings: Settings) -> Scheme:
    """Transformers' fine-grained FP8: blocks of both dimensions, activations per token unless it says static."""
    return Scheme("fp8", "fp8", static_activations=settings.get("activation_scheme", "dynamic") == "static")


def _modelopt(settings: Settings) -> Scheme:
    name = str(settings.get("quant_algo", "unknown"))
    if name.startswith(("W4A16_AWQ", "INT4_AWQ")):
        return Scheme("int4", "float16", _group_size(settings.get("group_size")))
    if name.startswith("W4A8"):
        return Scheme("int4", "fp8", _group_size(settings.get("group_size")), static_activations=True)
    return MODELOPT.get(name, Scheme(name))


def _torchao(settings: Settings) -> Scheme:
    """Transformers writes {"default": {"_type": the configuration's class, "_data": its fields}}."""
    kind = settings.get("quant_type", {})
    default = kind.get("default", {}) if isinstance(kind, Mapping) else {}
    name, data = str(default.get("_type", kind)), default.get("_data", {})
    if name == "IntxWeightOnlyConfig":
        size = data.get("granularity", {}).get("_data", {}).get("group_size")
        bits = str(data.get("weight_dtype", {}).get("_data", "int8")).removeprefix("torch.")
        symmetric = data.get("mapping_type", {}).get("_data") != "ASYMMETRIC"
        return Scheme(bits, "float16", _group_size(size), symmetric)
    return TORCHAO.get(name, Scheme(f"torchao-{name}"))


def _group_size(value: Any) -> int | None:
    return int(value) if value and int(value) > 0 else None


READERS: Mapping[str, Callable[[Settings], Scheme]] = {
    "compressed-tensors": _compressed_tensors,
    "gptq": _gptq,
    "awq": _awq,
    "bitsandbytes": _bitsandbytes,
    "fp8": _fp8,
    "modelopt": _modelopt,
    "torchao": _torchao,
}


def _gguf(files: list[Path]) -> Scheme:
    """The type that the file names (`general.file_type`, enum llama_ftype of llama.h); where it names none, as the
    converter's of GPT-NeoX, the one that all its matrices have.
    """
    from gguf import LlamaFileType  # numpy and a large table of constants

    from quant.checkpoints.gguf import read_gguf_file

    if len(files) != 1:
        raise CheckpointError(f"{files[0].parent}: has {len(files)} GGUF files; one file with the whole model is read")
    file = read_gguf_file(files[0])
    if file.file_type is None:
        types = {tensor.dtype for tensor in file.tensors.values() if len(tensor.shape) > 1}
        name = types.pop() if len(types) == 1 else "unknown"
    else:
        name = LlamaFileType(file.file_type).name.removeprefix("MOSTLY_").removeprefix("ALL_")
    return Scheme(GGUF_FLOATS[name], GGUF_FLOATS[name]) if name in GGUF_FLOATS else Scheme(name)


def _openvino(file: Path) -> Scheme:
    """What NNCF notes of its weight compression in the model's `rt_info`; a model without it is not compressed."""
    with reading(
        file, CheckpointError, MAKE_AGAIN, "is not an OpenVINO model"
    ):  # an encoding that is none is a LookupError or a ValueError
        root = ElementTree.fromstring(read_regular(file))
    noted = root.find("rt_info/nncf/weight_compression")
    mode = _noted(noted, "mode")
    if mode is None or not mode.startswith("int"):
        return Scheme("float16", "float16")
    bits, _, kind = mode.partition("_")
    size = _group_size(_noted(noted, "group_size"))
    return Scheme(bits, "float16", size if bits == "int4" else None, kind == "sym")


def _noted(parent: ElementTree.Element | None, name: str) -> str | None:
    element = parent.find(name) if parent is not None else None
    return element.get("value") if element is not None else None
