"""Which experts calibration tokens reach. Imported by method files at call time only: it needs torch."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from quant.types import CALIBRATION_WARNING


def warn_of_idle_experts(model: Any, rows: Sequence[Sequence[int]]) -> None:
    """Warn where the router sends no calibration token to some experts: what calibration finds for them is from tokens
    that they will not see, or from none. Nothing is said of models whose class gives no router logits.

    Args:
        model: of Transformers.
        rows: token ids of each calibration sample.
    """
    idle, experts = idle_experts(model, rows)
    if idle:
        tokens = sum(map(len, rows))
        message = f"{idle} of {experts} experts get none of the {tokens:,} tokens"
        warnings.warn(f"{CALIBRATION_WARNING}{message}; use more samples (`calibration.samples`)", stacklevel=2)


def idle_experts(model: Any, rows: Sequence[Sequence[int]]) -> tuple[int, int]:
    """How many experts of all layers get no token, and how many there are; (0, 0) where the class does not tell."""
    import torch

    chosen = getattr(model.config, "num_experts_per_tok", None)
    if not chosen:
        return 0, 0
    reached: dict[int, Any] = {}
    for row in rows:
        ids = torch.tensor([list(row)], device=model.device)
        with torch.inference_mode():
            logits = getattr(model(input_ids=ids, use_cache=False, output_router_logits=True), "router_logits", None)
        for layer, of_tokens in enumerate(logits or ()):  # tokens x experts
            hits = torch.bincount(of_tokens.topk(chosen).indices.flatten().cpu(), minlength=of_tokens.shape[-1])
            reached[layer] = reached.get(layer, 0) + hits
    return sum(int((hits == 0).sum()) for hits in reached.values()), sum(map(len, reached.values()))
