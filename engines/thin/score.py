"""Log-probabilities of given continuations: each context is run once, whatever the number of its continuations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from engines.thin.protocol import Item, Scored
from engines.thin.rows import Rows, extend, prefill, select

# tokens in one forward pass: large enough to fill two cores, small enough to keep its logits below 1 GB
TOKENS_PER_PASS = 1024


@torch.inference_mode()  # type: ignore[untyped-decorator]
def score(model: Any, items: Sequence[Item]) -> list[list[Scored]]:
    """Score every continuation of every item; results in the order given."""
    results: list[list[Scored]] = [[] for _ in items]
    for batch in _batches(items):
        rows, logits = prefill(model, [items[index].context for index in batch])
        for position, index in enumerate(batch):
            results[index] = [_first_token(logits[position], tokens) for tokens in items[index].continuations]
        _score_rest(model, rows, [items[index] for index in batch], [results[index] for index in batch])
    return results


def _batches(items: Sequence[Item]) -> Iterator[list[int]]:
    """Indexes of items with contexts of similar length, at most TOKENS_PER_PASS padded tokens together."""
    order = sorted(range(len(items)), key=lambda index: len(items[index].context))
    batch: list[int] = []
    for index in order:
        if batch and (len(batch) + 1) * len(items[index].context) > TOKENS_PER_PASS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _first_token(logits: torch.Tensor, tokens: Sequence[int]) -> Scored:
    value = float(logits[tokens[0]] - logits.logsumexp(-1))
    return Scored([value], [int(logits.argmax(-1)) == tokens[0]])


def _score_rest(model: Any, rows: Rows, items: Sequence[Item], results: Sequence[list[Scored]]) -> None:
    """Add the tokens after the first to `results`, running continuations of similar length together."""
    todo = [
        (position, which)
        for position, item in enumerate(items)
        for which, tokens in enumerate(item.continuations)
        if len(tokens) > 1
    ]
    todo.sort(key=lambda pair: len(items[pair[0]].continuations[pair[1]]))
    while todo:
        widest = len(items[todo[-1][0]].continuations[todo[-1][1]]) - 1
        count = max(1, TOKENS_PER_PASS // widest)
        group, todo = todo[-count:], todo[:-count]
        lines = [items[position].continuations[which] for position, which in group]
        scored = _forced(model, select(rows, [position for position, _ in group]), lines)
        for (position, which), more in zip(group, scored, strict=True):
            first = results[position][which]
            results[position][which] = Scored(first.logprobs + more.logprobs, first.greedy + more.greedy)


def _forced(model: Any, rows: Rows, lines: Sequence[Sequence[int]]) -> list[Scored]:
    """Scores of the tokens after the first of each line, on the rows' caches."""
    width = max(len(line) for line in lines) - 1
    ids = torch.zeros((len(lines), width), dtype=torch.long, device=model.device)
    valid = torch.zeros_like(ids)
    targets = torch.zeros_like(ids)
    for row, line in enumerate(lines):
        steps = len(line) - 1
        ids[row, :steps] = torch.tensor(line[:-1], device=model.device)
        targets[row, :steps] = torch.tensor(line[1:], device=model.device)
        valid[row, :steps] = 1
    _, logits = extend(model, rows, ids, valid)
    chosen = logits.gather(-1, targets[..., None])[..., 0] - logits.logsumexp(-1)
    greedy = logits.argmax(-1) == targets
    return [
        Scored(chosen[row, : len(line) - 1].tolist(), greedy[row, : len(line) - 1].tolist())
        for row, line in enumerate(lines)
    ]
