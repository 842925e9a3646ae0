"""Calling NVIDIA ModelOpt. For the environment `modelopt`."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from quant.progress import report
from quant.tools.cast_float16 import store_rest_in_float16
from quant.tools.tokenizer import copy_tokenizer
from quant.types import Calibration

NAMES = {
    "fp8": "FP8_DEFAULT_CFG",
    "int8_sq": "INT8_SMOOTHQUANT_CFG",
    "int4_awq": "INT4_AWQ_CFG",
    "w4a8_awq": "W4A8_AWQ_BETA_CFG",
    "nvfp4": "NVFP4_DEFAULT_CFG",
}
ITS_GROUP_SIZE = 128


def quantize(model: Path, out: Path, calibration: Calibration, numbers: str, group_size: int, strength: float) -> None:
    """Calibrate in float32 on the rows in their order, and export in its unified Hugging Face form."""
    import modelopt.torch.quantization as mtq
    import numpy as np
    import torch
    from modelopt.torch.export import export_hf_checkpoint
    from transformers import AutoModelForCausalLM

    report("load", 0, 1)
    loaded = AutoModelForCausalLM.from_pretrained(
        model, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, local_files_only=True
    ).eval()
    loaded.to("cuda" if torch.cuda.is_available() else "cpu")
    report("load", 1, 1)
    rows = torch.from_numpy(np.load(calibration.token_ids, allow_pickle=False).astype("int64")).to(loaded.device)

    def calibrate(network: Any) -> None:
        for index, row in enumerate(rows):
            network(row[None])
            report("calibrate rows", index + 1, len(rows))

    config = _in_groups(getattr(mtq, NAMES[numbers]), group_size)
    if numbers == "int8_sq":  # its own strength, 1, moves everything into the weights: up to 64 % of error in a layer
        config["algorithm"] = {"method": "smoothquant", "alpha": strength}
    with torch.no_grad():
        mtq.quantize(loaded, config, calibrate)
    report("save", 0, 1)
    export_hf_checkpoint(loaded, dtype=torch.float16, export_dir=out)
    store_rest_in_float16(out)
    copy_tokenizer(model, out)
    report("save", 1, 1)


def _in_groups(config: Any, size: int) -> Any:
    """Its configuration with groups of `size` where its own are of 128, which need not divide a layer's width."""
    config = copy.deepcopy(config)
    for rule in config["quant_cfg"]:
        inner = rule.get("cfg") or []
        for quantizer in inner if isinstance(inner, list) else [inner]:
            if (quantizer.get("block_sizes") or {}).get(-1) == ITS_GROUP_SIZE:
                quantizer["block_sizes"] = {-1: size, "type": "static"}
    return config
