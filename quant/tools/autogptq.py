"""Calling AutoGPTQ. For the environment `autogptq`; written by its documents, never run on the CUDA device it needs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quant.progress import report
from quant.tools.cast_float16 import store_rest_in_float16
from quant.tools.tokenizer import copy_tokenizer
from quant.tools.transformers4_compat import legacy_copy
from quant.types import Calibration


def quantize(model: Path, out: Path, calibration: Calibration, settings: Mapping[str, Any]) -> None:
    """Quantize in float32 with the calibration rows in their order."""
    import numpy as np
    import torch
    from auto_gptq import AutoGPTQForCausalLM, BaseQuantizeConfig

    report("load", 0, 1)
    source = legacy_copy(model, out / "legacy")
    config = BaseQuantizeConfig(**settings)
    loaded = AutoGPTQForCausalLM.from_pretrained(
        str(source), config, torch_dtype=torch.float32, trust_remote_code=False, local_files_only=True
    )
    report("load", 1, 1)
    ids = np.load(calibration.token_ids, allow_pickle=False).astype(np.int64)
    rows = [{"input_ids": row, "attention_mask": torch.ones_like(row)} for row in torch.from_numpy(ids)[:, None]]
    loaded.quantize(rows, batch_size=1, use_triton=False, cache_examples_on_gpu=True)
    report("save", 0, 1)
    loaded.save_quantized(str(out), use_safetensors=True)
    shutil.rmtree(source)
    for file in out.glob("gptq_model-*.safetensors"):
        file.rename(out / "model.safetensors")  # the name that readers look for
    store_rest_in_float16(out)
    copy_tokenizer(model, out)
    report("save", 1, 1)
