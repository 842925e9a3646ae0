"""Exact log-probabilities from a server that only tells those of what it generates: every token is forced.

llama-server's `/completion` with a logit bias generates the wanted token and reports the log-probability that it had
*before* the bias, beside the truly most likely token. One request a token, each on the cache of the one before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from evals.ask import ScoringFailed, ask
from evals.pairs import Pair, Scored

PATH = "/completion"
BIAS = 1e5
IN_FLIGHT = 2


async def force(client: httpx.AsyncClient, pairs: Sequence[Pair], advance: Callable[[int], None]) -> list[Scored]:
    """Score all pairs, those with one context one after the other, so that its cache is used. Raises ScoringFailed."""
    results: list[Scored | None] = [None] * len(pairs)
    by_context: dict[tuple[int, ...], list[int]] = {}
    for index, pair in enumerate(pairs):
        by_context.setdefault(pair.context, []).append(index)
    waiting = iter(sorted(by_context.values(), key=lambda indexes: len(pairs[indexes[0]].context)))

    async def worker() -> None:
        for indexes in waiting:
            for index in indexes:
                results[index] = await _force_pair(client, pairs[index])
                advance(1)

    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return [scored for scored in results if scored is not None]


async def _force_pair(client: httpx.AsyncClient, pair: Pair) -> Scored:
    prompt, logprobs, greedy = list(pair.context), [], []
    for token in pair.continuation:
        body = {
            "prompt": prompt, "n_predict": 1, "temperature": 0, "n_probs": 1, "cache_prompt": True,
            "logit_bias": [[token, BIAS]],
        }  # fmt: skip
        logprob, best = _read(await ask(client, PATH, body), token)
        logprobs.append(logprob)
        greedy.append(best == token)
        prompt.append(token)
    return Scored(tuple(logprobs), tuple(greedy))


def _read(answer: dict[str, Any], token: int) -> tuple[float, int]:
    """(log-probability of `token`, the most likely token) before the bias."""
    try:
        entry = answer["completion_probabilities"][0]
        chosen, logprob, best = int(entry["id"]), float(entry["logprob"]), int(entry["top_logprobs"][0]["id"])
    except (KeyError, IndexError, TypeError) as error:
        raise ScoringFailed("the server ignored n_probs: its answer has no log-probabilities") from error
    if chosen != token:
        raise ScoringFailed(f"the server ignored logit_bias: it generated token {chosen} where {token} was forced")
    return logprob, best
