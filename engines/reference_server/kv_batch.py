"""Rows that share one forward pass: left-padded token rows with their key-value cache.

Shapes: B rows, T positions, per layer keys and values of (B, heads, T, head size).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache


@dataclass
class Rows:
    """`layers` holds (keys, values) per layer; `mask` is (B, T) with 0 at padding; `lengths` is (B,)."""

    layers: list[tuple[Tensor, Tensor]]
    mask: Tensor
    lengths: Tensor

    @property
    def cache_bytes(self) -> int:
        return sum(keys.nbytes + values.nbytes for keys, values in self.layers)


def prefill(model: Any, prompts: Sequence[Sequence[int]], before: Rows | None = None) -> tuple[Rows, Tensor]:
    """Run the prompts, left-padded, all of them after the one row `before` if it is given.

    Returns the rows and the logits after each prompt's last token, (B, vocabulary).
    """
    device = model.device
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.zeros((len(prompts), longest), dtype=torch.long, device=device)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt, device=device)
        mask[row, longest - len(prompt) :] = 1
    cache = DynamicCache()
    if before is not None:
        shared = select(before, [0] * len(prompts))
        mask = torch.cat([shared.mask, mask], dim=1)
        for index, (keys, values) in enumerate(shared.layers):
            cache.update(keys, values, index)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -longest:]
    output = model(
        input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True, logits_to_keep=1,
        past_key_values=cache,
    )  # fmt: skip
    return Rows(_layers(output.past_key_values), mask, mask.sum(-1)), output.logits[:, -1].float()


def extend(model: Any, rows: Rows, ids: Tensor, valid: Tensor) -> tuple[Rows, Tensor]:
    """Run (B, K) further tokens on the rows' cache. `valid` is (B, K), 0 where a row has no such token.

    Returns the grown rows and the logits, (B, K, vocabulary), in float32.
    """
    steps = torch.arange(ids.shape[1], device=ids.device)
    mask = torch.cat([rows.mask, valid], dim=1)
    cache = DynamicCache()
    for index, (keys, values) in enumerate(rows.layers):
        cache.update(keys, values, index)
    output = model(
        input_ids=ids, attention_mask=mask, position_ids=rows.lengths[:, None] + steps, use_cache=True,
        past_key_values=cache,
    )  # fmt: skip
    return Rows(_layers(output.past_key_values), mask, rows.lengths + valid.sum(-1)), output.logits.float()


def _layers(cache: Any) -> list[tuple[Tensor, Tensor]]:
    return [(layer.keys, layer.values) for layer in cache.layers]


def select(rows: Rows, indexes: Sequence[int]) -> Rows:
    """The rows at `indexes` (repeats allowed), with the padding that all of them share cut off."""
    chosen = torch.tensor(indexes, device=rows.mask.device)
    mask = rows.mask[chosen]
    start = int(mask.argmax(dim=1).min())
    layers = [(keys[chosen, :, start:], values[chosen, :, start:]) for keys, values in rows.layers]
    return Rows(layers, mask[:, start:], rows.lengths[chosen])


def merge(first: Rows, second: Rows) -> Rows:
    """All rows of both, padded on the left to the longer one."""
    width = max(first.mask.shape[1], second.mask.shape[1])
    base, two = _widen(first, width), _widen(second, width)
    layers = [
        (torch.cat([k1, k2]), torch.cat([v1, v2])) for (k1, v1), (k2, v2) in zip(base.layers, two.layers, strict=True)
    ]
    return Rows(layers, torch.cat([base.mask, two.mask]), torch.cat([base.lengths, two.lengths]))


def _widen(rows: Rows, width: int) -> Rows:
    missing = width - rows.mask.shape[1]
    if not missing:
        return rows
    pad = torch.nn.functional.pad
    layers = [(pad(k, (0, 0, missing, 0)), pad(v, (0, 0, missing, 0))) for k, v in rows.layers]
    return Rows(layers, pad(rows.mask, (missing, 0)), rows.lengths)
