"""Exporting to OpenVINO's format and compressing its weights. For the environment `openvino`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from quant.progress import report
from quant.tools.tokenizer import copy_tokenizer
from quant.types import Calibration


def export(model: Path) -> Any:
    """The stateful graph of the model with float16 weights. What is sensitive to rounding stays in float32: the
    frequencies of the rotary embedding above all, whose rounding grows with a token's position."""
    from optimum.intel import OVModelForCausalLM

    report("export", 0, 1)
    exported = OVModelForCausalLM.from_pretrained(
        model,
        export=True,
        compile=False,
        load_in_8bit=False,
        torch_dtype="float16",
        trust_remote_code=False,
        local_files_only=True,
    )
    report("export", 1, 1)
    return exported.model


def compress(
    graph: Any, bits: int, group_size: int, symmetric: bool, algorithm: str, calibration: Calibration | None
) -> Any:
    """NNCF's weight compression; in 4 bits the embedding and the head stay in 8, as is its default."""
    import nncf

    mode = nncf.CompressWeightsMode[f"INT{bits}_{'SYM' if symmetric else 'ASYM'}"]
    report("compress", 0, 1)
    # the frequencies of a rotary embedding are a product with a constant, too, and no layer
    rotary = nncf.IgnoredScope(patterns=[r".*rotary_emb.*"], validate=False)
    settings: dict[str, Any] = {"mode": mode, "ignored_scope": rotary}
    if bits == 4:
        settings |= {"group_size": group_size or -1, "ratio": 1.0}
        if algorithm != "rtn" and calibration is not None:
            settings |= {"dataset": nncf.Dataset(_rows(calibration)), algorithm: True}
            settings |= {"subset_size": calibration.samples}
    compressed = nncf.compress_weights(graph, **settings)
    report("compress", 1, 1)
    return compressed


def _rows(calibration: Calibration) -> list[dict[str, Any]]:
    """The calibration set as inputs of the stateful graph, one row each."""
    import numpy as np

    ids = np.load(calibration.token_ids, allow_pickle=False).astype(np.int64)
    attention_mask = np.ones((1, ids.shape[1]), dtype=np.int64)
    positions = np.arange(ids.shape[1], dtype=np.int64)[None]
    batch = np.zeros((1,), dtype=np.int32)
    return [
        {"input_ids": row[None], "attention_mask": attention_mask, "position_ids": positions, "beam_idx": batch}
        for row in ids
    ]


def save(graph: Any, model: Path, out: Path) -> None:
    """Write `openvino_model.xml` and `.bin` as the graph is, and the model's small files."""
    import openvino

    report("save", 0, 1)
    openvino.save_model(graph, out / "openvino_model.xml", compress_to_fp16=False)
    shutil.copy(model / "config.json", out / "config.json")
    copy_tokenizer(model, out)
    report("save", 1, 1)
