"""Log-probabilities of given continuations: each context is run once, whatever the number of its continuations, and so
is what contexts begin with together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from engines.reference_server.api_schema import Item, Scored
from engines.reference_server.kv_batch import Rows, extend, prefill, select
from engines.shared_prefix import families

# tokens in one forward pass: large enough to fill two cores, small enough to keep its logits below 1 GB
TOKENS_PER_PASS = 1024
CACHE_TOKENS = 8 * TOKENS_PER_PASS


@torch.inference_mode()  # type: ignore[untyped-decorator]
def score(model: Any, items: Sequence[Item]) -> list[list[Scored]]:
    """Score every continuation of every item; results in the order given."""
    results: list[list[Scored]] = [[] for _ in items]
    alone: list[int] = []
    for shared, members in families([item.context for item in items]):
        if len(members) == 1:
            alone += members
        else:
            before, _ = prefill(model, [items[members[0]].context[:shared]])
            _score_after(model, before, shared, items, members, results)
    _score_after(model, None, 0, items, alone, results)
    return results


def _score_after(
    model: Any,
    before: Rows | None,
    shared: int,
    items: Sequence[Item],
    members: Sequence[int],
    results: list[list[Scored]],
) -> None:
    """Fill in `results` of `members`, whose contexts begin with the `shared` tokens in `before`."""
    for batch in _batches(items, members, shared):
        rows, logits = prefill(model, [items[index].context for index in batch], before)
        for last, index in zip(logits, batch, strict=True):
            everything = _encoded_logprobs(last[None]) if items[index].full_vocabulary else b""
            results[index] = [
                Scored([float(last[token] - last.logsumexp(-1))], [int(last.argmax(-1)) == token], everything)
                for token, *_ in items[index].continuations
            ]
        _score_rest(model, rows, [items[index] for index in batch], [results[index] for index in batch])


def _batches(items: Sequence[Item], members: Sequence[int], shared: int) -> Iterator[list[int]]:
    """Those of `members` with contexts of similar length, at most TOKENS_PER_PASS padded tokens together, and at most
    CACHE_TOKENS with what they share, which each row has a copy of.
    """
    order = sorted(members, key=lambda index: len(items[index].context))
    batch: list[int] = []
    for index in order:
        length, rows = len(items[index].context), len(batch) + 1
        if batch and (rows * (length - shared) > TOKENS_PER_PASS or rows * length > CACHE_TOKENS):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _encoded_logprobs(logits: torch.Tensor) -> bytes:
    """Log-probabilities of the whole vocabulary at each of (tokens, vocabulary)."""
    logprobs = (logits.double() - logits.double().logsumexp(-1, keepdim=True)).float()
    encoded: bytes = logprobs.cpu().numpy().astype("<f4").tobytes()
    return encoded


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
        full_vocabulary = [items[position].full_vocabulary for position, _ in group]
        scored = _forced(model, select(rows, [position for position, _ in group]), lines, full_vocabulary)
        for (position, which), more in zip(group, scored, strict=True):
            first = results[position][which]
            results[position][which] = Scored(
                first.logprobs + more.logprobs, first.greedy + more.greedy, first.full_vocabulary + more.full_vocabulary
            )


def _forced(model: Any, rows: Rows, lines: Sequence[Sequence[int]], full_vocabulary: Sequence[bool]) -> list[Scored]:
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
        Scored(
            chosen[row, : len(line) - 1].tolist(),
            greedy[row, : len(line) - 1].tolist(),
            _encoded_logprobs(logits[row, : len(line) - 1]) if full_vocabulary[row] else b"",
        )
        for row, line in enumerate(lines)
    ]
