"""What a server predicts at each of a text's last tokens: the whole next-token distribution, or its most likely tokens.

Each way in which servers give log-probabilities of a prompt has one for this too; `Dialect.top_tokens` says how many
tokens it tells.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from engines.types import Dialect, Endpoint
from evals.api.formats import score_answer, score_body
from evals.api.post import ScoringFailed, ask, connect
from evals.scoring.logit_bias import forced
from evals.scoring.types import Pair

IN_FLIGHT = 4
PAIRS_PER_REQUEST = 4  # of our own server, so that they share a batch there, as other servers' do by themselves
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Client = httpx.AsyncClient


@dataclass(frozen=True)
class Distribution:
    """At each continuation token of a pair: `logprobs` of (tokens, k), the k most likely first, with their `ids`; of
    (tokens, vocabulary) in the order of the ids where `ids` is None. `chosen` are those of the continuation itself.
    """

    chosen: tuple[float, ...]
    logprobs: Floats
    ids: Ints | None


def tell(
    endpoint: Endpoint, pairs: Sequence[Pair], advance: Callable[[int], None], *, alone: bool
) -> list[Distribution]:
    """Distributions at the continuations of all pairs, one pair at a time with `alone`. Raises ScoringFailed."""
    return asyncio.run(_tell(endpoint, pairs, advance, alone=alone))


async def _tell(
    endpoint: Endpoint, pairs: Sequence[Pair], advance: Callable[[int], None], *, alone: bool
) -> list[Distribution]:
    dialect = endpoint.dialect
    way, size = WAYS[dialect.prompt_logprobs], PAIRS_PER_REQUEST if dialect.prompt_logprobs == "score" else 1
    results: dict[int, list[Distribution]] = {}
    waiting = iter(range(0, len(pairs), 1 if alone else size))

    async def worker(client: Client) -> None:
        for start in waiting:
            group = pairs[start : start + (1 if alone else size)]
            try:
                results[start] = await way(client, dialect, group)
            except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
                message = f"{type(error).__name__}: {error}"
                raise ScoringFailed(f"no distributions in the server's answer ({message})") from error
            advance(len(group))

    async with connect(endpoint) as client:
        await asyncio.gather(*(worker(client) for _ in range(1 if alone else IN_FLIGHT)))
    return [distribution for start in sorted(results) for distribution in results[start]]


async def _by_score(client: Client, dialect: Dialect, pairs: Sequence[Pair]) -> list[Distribution]:
    """Our own `/score`."""
    items = [{"context": pair.context, "continuations": [pair.continuation], "whole": True} for pair in pairs]
    rows = sum(len(pair.continuation) for pair in pairs)
    answers = score_answer(dialect, await ask(client, dialect.scores, score_body(dialect, items), rows=rows))
    distributions = []
    for pair, (answer,) in zip(pairs, answers, strict=True):
        if "whole" not in answer:
            raise ScoringFailed("the server ignored `whole`: it reports the requested tokens only")
        rows_of_all = np.frombuffer(base64.b64decode(answer["whole"]), dtype="<f4").reshape(len(pair.continuation), -1)
        distributions.append(Distribution(tuple(answer["logprobs"]), rows_of_all, None))
    return distributions


async def _by_prompt_logprobs(client: Client, dialect: Dialect, pair: Pair) -> Distribution:
    """vLLM's: the k most likely tokens of each position and the prompt's own, {id: {"logprob", "rank"}}."""
    body = {
        "model": dialect.model,
        "prompt": [*pair.context, *pair.continuation],
        "max_tokens": 1,
        "temperature": 0,
        "prompt_logprobs": dialect.top_tokens,
    }
    choice = (await ask(client, dialect.completions, body))["choices"][0]
    entries: list[Mapping[str, Any]] = choice["prompt_logprobs"][len(pair.context) :]
    chosen = [entry[str(token)]["logprob"] for entry, token in zip(entries, pair.continuation, strict=True)]
    tops = [sorted(entry.items(), key=lambda item: item[1]["rank"])[: dialect.top_tokens] for entry in entries]
    return _top(chosen, [[(int(token), entry["logprob"]) for token, entry in top] for top in tops], dialect.top_tokens)


async def _by_start_len(client: Client, dialect: Dialect, pair: Pair) -> Distribution:
    """SGLang's: [log-probability, token, text] of the k most likely, nothing for the first position."""
    body = {
        "input_ids": [*pair.context, *pair.continuation],
        "sampling_params": {"max_new_tokens": 0, "temperature": 0},
        "return_logprob": True,
        "logprob_start_len": len(pair.context) - 1,
        "top_logprobs_num": dialect.top_tokens,
    }
    meta = (await ask(client, "/generate", body))["meta_info"]
    chosen = [value for value, *_ in meta["input_token_logprobs"][1:]]
    tops = [[(token, value) for value, token, *_ in position] for position in meta["input_top_logprobs"][1:]]
    return _top(chosen, tops, dialect.top_tokens)


async def _by_context_logits(client: Client, dialect: Dialect, pair: Pair) -> Distribution:
    """TensorRT-LLM's: logits of (tokens, vocabulary)."""
    prompt = [*pair.context, *pair.continuation[:-1]]
    body = {"model": dialect.model, "prompt": prompt, "max_tokens": 1, "temperature": 0, "return_context_logits": True}
    logits = (await ask(client, dialect.completions, body, rows=len(prompt)))["choices"][0]["context_logits"]
    if not logits or len(logits) != len(prompt):
        raise ScoringFailed("the server ignored return_context_logits: it does not report each of the prompt's tokens")
    rows = log_softmax(np.asarray(logits[len(pair.context) - 1 :], dtype=np.float64), axis=1).astype(np.float32)
    return Distribution(
        tuple(float(row[token]) for row, token in zip(rows, pair.continuation, strict=True)), rows, None
    )


async def _by_forcing(client: Client, dialect: Dialect, pair: Pair) -> Distribution:
    """llama-server's: a request for each token, with the k most likely before it was forced."""
    prompt, chosen, tops = list(pair.context), [], []
    for token in pair.continuation:
        value, top = await forced(client, prompt, token, dialect.top_tokens)
        chosen.append(value)
        tops.append(top)
        prompt.append(token)
    return _top(chosen, tops, dialect.top_tokens)


def _top(chosen: Sequence[float], tops: Sequence[Sequence[tuple[int, float]]], count: int) -> Distribution:
    """Raises ScoringFailed where a position does not tell `count` tokens."""
    short = min(map(len, tops), default=0)
    if short < count or len(tops) != len(chosen):
        raise ScoringFailed(f"the server returned {short} of the {count} most likely tokens")
    ids = np.asarray([[token for token, _ in top[:count]] for top in tops], dtype=np.int32)
    logprobs = np.asarray([[value for _, value in top[:count]] for top in tops], dtype=np.float32)
    return Distribution(tuple(map(float, chosen)), logprobs, ids)


Way = Callable[[Client, Dialect, Sequence[Pair]], Awaitable[list[Distribution]]]


def _one_by_one(way: Callable[[Client, Dialect, Pair], Awaitable[Distribution]]) -> Way:
    async def each(client: Client, dialect: Dialect, pairs: Sequence[Pair]) -> list[Distribution]:
        return [await way(client, dialect, pair) for pair in pairs]

    return each


WAYS: Mapping[str, Way] = {
    "score": _by_score,
    "prompt_logprobs": _one_by_one(_by_prompt_logprobs),
    "logprob_start_len": _one_by_one(_by_start_len),
    "context_logits": _one_by_one(_by_context_logits),
    "forcing": _one_by_one(_by_forcing),
}
