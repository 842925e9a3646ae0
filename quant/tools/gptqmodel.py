"""Calling GPTQModel. For the environment `gptqmodel`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quant.progress import report
from quant.tools.cast_float16 import store_rest_in_float16
from quant.tools.tokenizer import copy_tokenizer
from quant.types import Calibration


def quantize(model: Path, out: Path, calibration: Calibration, settings: Mapping[str, Any]) -> None:
    """Quantize in float32 with the calibration rows in their order."""
    os.environ["GPTQMODEL_CPU_WORKERS"] = "2"  # fewer, and it fails
    os.environ["GPTQMODEL_DISABLE_PACK_EXT"] = "1"  # else it compiles C++ for 36 s, to write the same bytes
    os.environ["GPTQMODEL_OFFLINE"] = "1"
    import numpy as np
    import torch
    from gptqmodel import BACKEND, GPTQModel, QuantizeConfig

    report("load", 0, 1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = QuantizeConfig(**settings, format="gptq", offload_to_disk=False, device=device)
    loaded = GPTQModel.load(str(model), config, trust_remote_code=False, dtype=torch.float32)
    report("load", 1, 1)
    loaded.layer_callback = _Progress(loaded.model.config.num_hidden_layers)
    ids = np.load(calibration.token_ids, allow_pickle=False).tolist()
    rows = [{"input_ids": row, "attention_mask": [1] * len(row)} for row in ids]
    loaded.quantize(rows, batch_size=1, calibration_sort=None, backend=BACKEND.AUTO)
    report("save", 0, 1)
    loaded.save(str(out))
    (out / "quant_log.csv").unlink(missing_ok=True)  # durations, other ones in every run
    store_rest_in_float16(out)
    copy_tokenizer(model, out)
    report("save", 1, 1)


class _Progress:
    """What GPTQModel calls as it goes on."""

    def __init__(self, layers: int) -> None:
        self.layers = layers

    def layer_complete(self, layer_idx: int, submodule_finalized: bool) -> None:
        if submodule_finalized:
            report("calibrate layers", layer_idx + 1, self.layers)
