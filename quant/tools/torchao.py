"""Calling torchao through Transformers, which stores its tensors as safetensors. For the environment `transformers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quant.progress import report
from quant.tools.cast_float16 import store_rest_in_float16
from quant.tools.tokenizer import copy_tokenizer


def quantize(model: Path, out: Path, numbers: str, group_size: int, *, symmetric: bool) -> None:
    """Quantize while loading in float32: what is stored from bfloat16 cannot compute in another type later."""
    import torch
    from transformers import AutoModelForCausalLM, TorchAoConfig

    report("load", 0, 1)
    loaded = AutoModelForCausalLM.from_pretrained(
        model,
        quantization_config=TorchAoConfig(_config(numbers, group_size, symmetric), modules_to_not_convert=["lm_head"]),
        dtype=torch.float32,
        device_map="auto" if torch.cuda.is_available() else "cpu",
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
    )
    report("load", 1, 1)
    report("save", 0, 1)
    loaded.save_pretrained(out)
    store_rest_in_float16(out)
    copy_tokenizer(model, out)
    report("save", 1, 1)


def _config(numbers: str, group_size: int, symmetric: bool) -> Any:
    import torch
    import torchao.quantization as ao

    if numbers == "int4":
        kind = ao.MappingType.SYMMETRIC if symmetric else ao.MappingType.ASYMMETRIC
        return ao.IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=ao.PerGroup(group_size), mapping_type=kind)
    plain = {
        "int8": ao.Int8WeightOnlyConfig,
        "int8_dynamic": ao.Int8DynamicActivationInt8WeightConfig,
        "fp8": ao.Float8WeightOnlyConfig,
    }
    return plain[numbers]()
