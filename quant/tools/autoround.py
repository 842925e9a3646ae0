"""Calling Intel AutoRound. For the environment `autoround`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from quant.progress import report
from quant.tools.cast_float16 import store_rest_in_float16
from quant.tools.tokenizer import copy_tokenizer
from quant.types import Calibration

BATCH = 4


def quantize(
    model: Path,
    out: Path,
    calibration: Calibration,
    *,
    bits: int,
    group_size: int,
    symmetric: bool,
    iterations: int,
    rate: float,
) -> None:
    """Tune in float32 on the calibration rows; it writes into a folder of its own below `out`."""
    import numpy as np
    import torch
    from auto_round import AutoRound
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _report_blocks()
    report("load", 0, 1)
    given = {"trust_remote_code": False, "local_files_only": True}
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, use_safetensors=True, **given).eval()
    report("load", 1, 1)
    ids = torch.from_numpy(np.load(calibration.token_ids, allow_pickle=False).astype("int64"))
    tuned = AutoRound(
        loaded,
        tokenizer=AutoTokenizer.from_pretrained(model, **given),
        scheme=f"W{bits}A16",
        group_size=group_size,
        sym=symmetric,
        dataset=[{"input_ids": row[None], "attention_mask": torch.ones_like(row[None])} for row in ids],
        iters=iterations,
        lr=rate,
        minmax_lr=rate,
        seqlen=calibration.length,
        nsamples=calibration.samples,
        batch_size=min(BATCH, calibration.samples),
        device_map="auto" if torch.cuda.is_available() else "cpu",
        enable_torch_compile=False,
        amp=torch.cuda.is_available(),
        seed=calibration.seed,
    )
    _, folders = tuned.quantize_and_save(str(out / "tool"), format="llm_compressor")
    report("save", 0, 1)
    for file in Path(folders[0] if isinstance(folders, list | tuple) else folders).iterdir():
        shutil.move(file, out / file.name)
    shutil.rmtree(out / "tool")
    store_rest_in_float16(out)
    copy_tokenizer(model, out)
    report("save", 1, 1)


def _report_blocks() -> None:
    import auto_round.compressors.orchestrator as orchestrator

    class Reported(orchestrator.tqdm):  # type: ignore[misc]
        def update(self, n: int = 1) -> Any:
            result = super().update(n)
            report("tune blocks", self.n, self.total)
            return result

    orchestrator.tqdm = Reported
