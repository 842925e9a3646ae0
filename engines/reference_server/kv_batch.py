"""Rows that share one forward pass: left-padded token rows with their key-value cache.

No row has padding between its tokens: sliding and chunked attention measure distances in places of the cache.

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
    """Run the prompts, padded on the left alone. `before` is the one row of what all of them begin with, if it was run.

    Returns the rows and the logits after each prompt's last token, (B, vocabulary).
    """
    device = model.device
    longest = max(len(prompt) for prompt in prompts)
    width = longest if before is None else longest - before.mask.shape[1]
    ids = torch.zeros((len(prompts), width), dtype=torch.long, device=device)
    mask = torch.zeros((len(prompts), longest), dtype=torch.long, device=device)
    for row, prompt in enumerate(prompts):
        last = prompt[-width:]
        ids[row, width - len(last) :] = torch.tensor(last, device=device)
        mask[row, longest - len(prompt) :] = 1
    cache = DynamicCache()
    if before is not None:
        for index, (keys, values) in enumerate(_shift(before, [longest - len(prompt) for prompt in prompts])):
            cache.update(keys, values, index)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -width:]
    output = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        use_cache=True,
        logits_to_keep=1,
        past_key_values=cache,
    )
    return Rows(_layers(output.past_key_values), mask, mask.sum(-1)), output.logits[:, -1].float()


def _shift(before: Rows, gaps: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """The caches of the one row `before`, once for each of `gaps` and moved so far to the right.

    A window of attention is measured in places of the cache, so padding between two tokens of a row would take a part
    of it. The padding stands before the row instead, and the tokens pushed out on the right are run once more, where
    their padding would have been run.
    """
    places = torch.arange(before.mask.shape[1], device=before.mask.device)
    sources = (places - torch.tensor(gaps, device=places.device)[:, None]).clamp(min=0)
    return [
        (keys[0][:, sources].transpose(0, 1), values[0][:, sources].transpose(0, 1)) for keys, values in before.layers
    ]


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
        input_ids=ids,
        attention_mask=mask,
        position_ids=rows.lengths[:, None] + steps,
        use_cache=True,
        past_key_values=cache,
    )
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
    left, right = _widen(first, width), _widen(second, width)
    layers = [
        (torch.cat([k1, k2]), torch.cat([v1, v2])) for (k1, v1), (k2, v2) in zip(left.layers, right.layers, strict=True)
    ]
    return Rows(layers, torch.cat([left.mask, right.mask]), torch.cat([left.lengths, right.lengths]))


def _widen(rows: Rows, width: int) -> Rows:
    missing = width - rows.mask.shape[1]
    if not missing:
        return rows
    pad = torch.nn.functional.pad
    layers = [(pad(k, (0, 0, missing, 0)), pad(v, (0, 0, missing, 0))) for k, v in rows.layers]
    return Rows(layers, pad(rows.mask, (missing, 0)), rows.lengths)
