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

COMPLETION = "/completion"
WHOLE_VOCABULARY = 10_000_000  # the server gives as many as there are
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
        entry = await _generate(client, prompt, token, 1)
        if entry is None:
            logprob, best = await _among_all(client, prompt, token)
        elif int(entry["id"]) != token:
            said = f"it generated token {entry['id']} where {token} was forced"
            raise ScoringFailed(f"the server ignored logit_bias: {said}")
        else:
            logprob, best = float(entry["logprob"]), int(entry["top_logprobs"][0]["id"])
        logprobs.append(logprob)
        greedy.append(best == token)
        prompt.append(token)
    return Scored(tuple(logprobs), tuple(greedy))


async def _generate(client: httpx.AsyncClient, prompt: list[int], forced: int, count: int) -> dict[str, Any] | None:
    """The forced token's entry with the `count` most likely tokens, all before the bias; None where none was given."""
    body = {
        "prompt": prompt, "n_predict": 1, "temperature": 0, "n_probs": count, "cache_prompt": True,
        "logit_bias": [[forced, BIAS]],
    }  # fmt: skip
    answer = await ask(client, COMPLETION, body)
    entries: list[dict[str, Any]] = answer.get("completion_probabilities") or []
    if entries and not (entries[0].keys() >= {"id", "logprob", "top_logprobs"} and entries[0]["top_logprobs"]):
        raise ScoringFailed("the server ignored n_probs: its answer has no log-probabilities")
    return entries[0] if entries else None


async def _among_all(client: httpx.AsyncClient, prompt: list[int], token: int) -> tuple[float, int]:
    """(log-probability of `token`, the most likely token), where forcing `token` brings nothing.

    llama-server keeps a token back that ends inside a UTF-8 character, and its log-probability with it. So a harmless
    token is forced instead, with the log-probabilities of the whole vocabulary: megabytes, but for few tokens.
    """
    harmless = (await ask(client, "/tokenize", {"content": "a"})).get("tokens") or [0]
    entry = await _generate(client, prompt, int(harmless[-1]), WHOLE_VOCABULARY)
    top = entry["top_logprobs"] if entry else []
    found = next((float(one["logprob"]) for one in top if int(one["id"]) == token), None)
    if found is None:
        raise ScoringFailed(f"the server ignored n_probs: it gave no log-probability of token {token}")
    return found, int(top[0]["id"])
