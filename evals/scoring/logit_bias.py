"""Exact log-probabilities from a server that only tells those of what it generates: every token is forced.

llama-server's `/completion` with a logit bias generates the wanted token and reports the log-probability that it had
*before* the bias, beside the truly most likely token. One request a token, each on the cache of the one before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx

from evals.api.post import ScoringFailed, ask
from evals.scoring.types import Done, Pair, Scored

COMPLETION = "/completion"
MORE_THAN_ALL = 10_000_000  # the server gives as many as there are
BIAS = 1e5
IN_FLIGHT = 2


async def force(client: httpx.AsyncClient, pairs: Sequence[Pair], done: Done) -> list[Scored]:
    """Score all pairs, those with one context one after the other, so that its cache is used. Raises ScoringFailed."""
    results: list[Scored | None] = [None] * len(pairs)
    by_context: dict[tuple[int, ...], list[int]] = {}
    for index, pair in enumerate(pairs):
        by_context.setdefault(pair.context, []).append(index)
    waiting = iter(sorted(by_context.values(), key=lambda indexes: len(pairs[indexes[0]].context)))

    async def worker() -> None:
        for indexes in waiting:
            for index in indexes:
                results[index] = scored = await _force_pair(client, pairs[index])
                done([(index, scored)])

    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return [scored for scored in results if scored is not None]


async def _force_pair(client: httpx.AsyncClient, pair: Pair) -> Scored:
    prompt, logprobs, greedy = list(pair.context), [], []
    for token in pair.continuation:
        logprob, top = await forced(client, prompt, token, 2)
        logprobs.append(logprob)
        greedy.append(top[0][0] == token)
        prompt.append(token)
    return Scored(tuple(logprobs), tuple(greedy))


async def forced(
    client: httpx.AsyncClient, prompt: list[int], token: int, count: int
) -> tuple[float, list[tuple[int, float]]]:
    """(log-probability of `token` after `prompt`, the `count` most likely tokens with theirs). Raises ScoringFailed."""
    entry = await _generate(client, prompt, token, count)
    if entry is None:
        return await _among_all(client, prompt, token, count)
    if int(entry["id"]) != token:
        message = f"it generated token {entry['id']} where {token} was forced"
        raise ScoringFailed(f"the server ignored logit_bias: {message}")
    return float(entry["logprob"]), _most_likely(entry, count)


def _most_likely(entry: dict[str, Any], count: int) -> list[tuple[int, float]]:
    return [(int(candidate["id"]), float(candidate["logprob"])) for candidate in entry["top_logprobs"][:count]]


async def _generate(client: httpx.AsyncClient, prompt: list[int], forced: int, count: int) -> dict[str, Any] | None:
    """The forced token's entry with the `count` most likely tokens, all before the bias; None where none was given."""
    body = {
        "prompt": prompt,
        "n_predict": 1,
        "temperature": 0,
        "n_probs": count,
        "cache_prompt": True,
        "logit_bias": [[forced, BIAS]],
    }
    answer = await ask(client, COMPLETION, body)
    entries: list[dict[str, Any]] = answer.get("completion_probabilities") or []
    if entries and not (entries[0].keys() >= {"id", "logprob", "top_logprobs"} and entries[0]["top_logprobs"]):
        raise ScoringFailed("the server ignored n_probs: its answer has no log-probabilities")
    return entries[0] if entries else None


async def _among_all(
    client: httpx.AsyncClient, prompt: list[int], token: int, count: int
) -> tuple[float, list[tuple[int, float]]]:
    """The same where forcing `token` brings nothing.

    llama-server keeps a token back that ends inside a UTF-8 character, and its log-probability with it. So a harmless
    token is forced instead, with the log-probabilities of the whole vocabulary: megabytes, but for few tokens.
    """
    harmless = (await ask(client, "/tokenize", {"content": "a"})).get("tokens") or [0]
    entry = await _generate(client, prompt, int(harmless[-1]), MORE_THAN_ALL)
    top = _most_likely(entry, MORE_THAN_ALL) if entry else []
    logprob = next((value for candidate, value in top if candidate == token), None)
    if logprob is None:
        raise ScoringFailed(f"the server ignored n_probs: it gave no log-probability of token {token}")
    return logprob, top[:count]
