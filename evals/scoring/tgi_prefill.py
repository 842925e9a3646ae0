"""Log-probabilities from TGI: `decoder_input_details` gives those of the prompt's tokens, with their ids.

It does not tell whether a token was the most likely one. So each context is also gone on from greedily, and a token
counts as most likely while the continuation agrees with that; after the first that does not, `greedy` is False, known
or not. Whether *all* were the most likely, which is what tasks ask, is exact.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from engines.types import Endpoint
from evals.api.formats import completion_body
from evals.api.post import ScoringFailed, ask
from evals.scoring.types import Done, Pair, Scored

IN_FLIGHT = 4
FIRST_TOKENS = 8
HINT = "its launcher needs --enable-prefill-logprobs"


async def read_prefill(
    client: httpx.AsyncClient, endpoint: Endpoint, pairs: Sequence[Pair], done: Done
) -> list[Scored]:
    """Score all pairs. Raises ScoringFailed where the prompt's tokens are not told, or are others."""
    results: dict[int, Scored] = {}
    waiting = iter(range(len(pairs)))

    async def worker() -> None:
        for index in waiting:
            results[index] = await _score(client, endpoint, pairs[index])
            done([(index, results[index])])

    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return [results[index] for index in range(len(pairs))]


async def _score(client: httpx.AsyncClient, endpoint: Endpoint, pair: Pair) -> Scored:
    ids = [*pair.context, *pair.continuation]
    response = await _generate(client, endpoint, ids, 1, decoder_input_details=True)
    logprobs = prompt_logprobs(pair, response)
    agreed = await _agreed(client, endpoint, pair)
    return Scored(logprobs, tuple(n < agreed for n in range(len(pair.continuation))))


async def _agreed(client: httpx.AsyncClient, endpoint: Endpoint, pair: Pair) -> int:
    """How many of the continuation's tokens the server would generate itself before it takes another one.

    Mostly none or all of a few, so few are generated first; a whole window of text need never be.
    """
    wanted, count = list(pair.continuation), FIRST_TOKENS
    while True:
        count = min(count, len(wanted))
        made = await _generate(client, endpoint, list(pair.context), count)
        likely = [token["id"] for token in made["tokens"]]
        agreed = next((n for n, (a, b) in enumerate(zip(likely, wanted, strict=False)) if a != b), len(likely))
        if agreed < count or count == len(wanted):
            return agreed
        count *= 8


def prompt_logprobs(pair: Pair, details: Mapping[str, Any]) -> tuple[float, ...]:
    """Of the continuation's tokens, from `details.prefill`: {"id", "logprob", "text"} each. Raises ScoringFailed."""
    entries = details.get("prefill") or []
    if not entries:
        raise ScoringFailed(f"the server reports nothing about the prompt's tokens (details.prefill is empty): {HINT}")
    if [entry["id"] for entry in entries] != [*pair.context, *pair.continuation]:
        message = "the server made other tokens of the prompt's text than were counted here"
        raise ScoringFailed(message, kind="wrong-token-counts")
    return tuple(float(entry["logprob"]) for entry in entries[len(pair.context) :])


async def _generate(
    client: httpx.AsyncClient, endpoint: Endpoint, ids: list[int], count: int, **parameters: Any
) -> dict[str, Any]:
    try:
        body = completion_body(endpoint, ids, count, ignore_eos=False, stream=False)
    except ValueError as error:
        raise ScoringFailed(str(error)) from error
    body["parameters"] |= parameters
    answer = await ask(client, endpoint.dialect.completions, body)
    try:
        return dict(answer["details"])
    except (KeyError, TypeError, ValueError) as error:
        raise ScoringFailed(f"{endpoint.dialect.completions} answered without `details`") from error
