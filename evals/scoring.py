"""Log-probabilities of given tokens, asked for in the way that the server's dialect knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from engines.spec import Endpoint
from evals.ask import ScoringFailed, ask
from evals.forcing import force
from evals.pairs import Pair, Scored

TIMEOUT_SECONDS = 1800.0
ITEM_TOKENS_PER_REQUEST = 2048
IN_FLIGHT = {"score": 2, "prompt_logprobs": 4}
Advance = Callable[[int], None]


@dataclass(frozen=True)
class _Job:
    """One HTTP request and the indexes of the pairs that its answer fills."""

    path: str
    body: dict[str, Any]
    pairs: tuple[tuple[int, ...], ...]


def score(endpoint: Endpoint, pairs: Sequence[Pair], advance: Advance = lambda _: None) -> list[Scored]:
    """Score all pairs, concurrently, results in the order given. Raises ScoringFailed.

    `advance` is called with the number of pairs that were just finished.
    """
    return asyncio.run(_score(endpoint, pairs, advance))


async def _score(endpoint: Endpoint, pairs: Sequence[Pair], advance: Advance) -> list[Scored]:
    strategy = endpoint.dialect.prompt_logprobs
    async with httpx.AsyncClient(base_url=endpoint.url, headers=endpoint.headers, timeout=TIMEOUT_SECONDS) as client:
        if strategy == "none":
            raise ScoringFailed("this server gives no log-probabilities of a prompt: accuracy cannot be measured in it")
        if strategy == "forcing":
            return await force(client, pairs, advance)
        if strategy == "score":
            return await _run(client, pairs, _score_jobs(pairs), IN_FLIGHT[strategy], advance)
        jobs = [*_label_jobs(endpoint, pairs), *_completion_jobs(endpoint, pairs)]
        return await _run(client, pairs, jobs, IN_FLIGHT[strategy], advance)


def _score_jobs(pairs: Sequence[Pair]) -> list[_Job]:
    """Requests for our own `/score`: pairs with one context become one item, items of similar length one request."""
    by_context: dict[tuple[int, ...], list[int]] = {}
    for index, pair in enumerate(pairs):
        by_context.setdefault(pair.context, []).append(index)
    jobs: list[_Job] = []
    group: list[tuple[int, ...]] = []
    tokens = 0
    for context in sorted(by_context, key=len):
        size = len(context) + sum(len(pairs[index].continuation) for index in by_context[context])
        if group and tokens + size > ITEM_TOKENS_PER_REQUEST:
            jobs.append(_score_job(pairs, by_context, group))
            group, tokens = [], 0
        group.append(context)
        tokens += size
    return [*jobs, _score_job(pairs, by_context, group)] if group else jobs


def _score_job(
    pairs: Sequence[Pair], by_context: dict[tuple[int, ...], list[int]], group: Sequence[tuple[int, ...]]
) -> _Job:
    items = [
        {"context": context, "continuations": [pairs[index].continuation for index in by_context[context]]}
        for context in group
    ]
    return _Job("/score", {"items": items}, tuple(tuple(by_context[context]) for context in group))


def _completion_jobs(endpoint: Endpoint, pairs: Sequence[Pair]) -> list[_Job]:
    """Completions with prompt log-probabilities; prompts of similar length share a request."""
    if endpoint.dialect.label_logprobs:
        chosen = [index for index, pair in enumerate(pairs) if len(pair.continuation) > 1]
    else:
        chosen = list(range(len(pairs)))
    sizes = [len(pair.context) + len(pair.continuation) for pair in pairs]
    jobs: list[_Job] = []
    group: list[int] = []
    for index in sorted(chosen, key=lambda i: sizes[i]):
        if group and sizes[index] * (len(group) + 1) > ITEM_TOKENS_PER_REQUEST:
            jobs.append(_completion_job(endpoint, pairs, group))
            group = []
        group.append(index)
    return [*jobs, _completion_job(endpoint, pairs, group)] if group else jobs


def _label_jobs(endpoint: Endpoint, pairs: Sequence[Pair]) -> list[_Job]:
    """One forward pass for all one-token continuations of a context: the next token's log-probabilities say it all."""
    if not endpoint.dialect.label_logprobs:
        return []
    by_context: dict[tuple[int, ...], list[int]] = {}
    for index, pair in enumerate(pairs):
        if len(pair.continuation) == 1:
            by_context.setdefault(pair.context, []).append(index)
    jobs: list[_Job] = []
    for context in sorted(by_context, key=len):
        indexes = by_context[context]
        body = {
            "model": "served", "prompt": list(context), "max_tokens": 1, "temperature": 0, "logprobs": 0,
            "logprob_token_ids": sorted({pairs[index].continuation[0] for index in indexes}),
            "return_tokens_as_token_ids": True,
        }  # fmt: skip
        jobs.append(_Job(endpoint.dialect.completions, body, (tuple(indexes),)))
    return jobs


def _completion_job(endpoint: Endpoint, pairs: Sequence[Pair], group: Sequence[int]) -> _Job:
    prompts = [[*pairs[index].context, *pairs[index].continuation] for index in group]
    body = {"model": "served", "prompt": prompts, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
    return _Job(endpoint.dialect.completions, body, tuple((index,) for index in group))


async def _run(
    client: httpx.AsyncClient, pairs: Sequence[Pair], jobs: Sequence[_Job], in_flight: int, advance: Advance
) -> list[Scored]:
    results: list[Scored | None] = [None] * len(pairs)
    waiting = iter(jobs)

    async def worker() -> None:
        for job in waiting:
            answer = await ask(client, job.path, job.body)
            try:
                found = _read(job, answer, pairs)
            except (KeyError, IndexError, TypeError, ValueError) as error:
                what = f"{type(error).__name__}: {error}"
                raise ScoringFailed(f"{job.path} answered without what was asked for ({what})") from error
            for index, scored in found:
                results[index] = scored
            advance(sum(len(group) for group in job.pairs))

    await asyncio.gather(*(worker() for _ in range(in_flight)))
    missing = [index for index, scored in enumerate(results) if scored is None]
    if missing:
        raise ScoringFailed(f"the server left {len(missing)} of {len(pairs)} pairs unanswered")
    return [scored for scored in results if scored is not None]


def _read(job: _Job, answer: dict[str, Any], pairs: Sequence[Pair]) -> list[tuple[int, Scored]]:
    if job.path == "/score":
        return [
            (index, Scored(tuple(one["logprobs"]), tuple(one["greedy"])))
            for indexes, scores in zip(job.pairs, answer["scores"], strict=True)
            for index, one in zip(indexes, scores, strict=True)
        ]
    if "logprob_token_ids" in job.body:
        return [(index, _from_labels(pairs[index], answer["choices"][0])) for index in job.pairs[0]]
    choices = sorted(answer["choices"], key=lambda choice: choice["index"])
    filled = zip(job.pairs, choices, strict=True)
    return [(index, _from_prompt_logprobs(pairs[index], choice)) for (index,), choice in filled]


def _from_labels(pair: Pair, choice: dict[str, Any]) -> Scored:
    """vLLM's form: the sampled (most likely) token and the asked ones, as {"token_id:7042": log-probability}."""
    logprobs = choice["logprobs"]
    name = f"token_id:{pair.continuation[0]}"
    if name not in logprobs["top_logprobs"][0]:
        raise ScoringFailed("the server ignored logprob_token_ids: a token that was asked for is not in its answer")
    return Scored((logprobs["top_logprobs"][0][name],), (logprobs["tokens"][0] == name,))


def _from_prompt_logprobs(pair: Pair, choice: dict[str, Any]) -> Scored:
    """vLLM's form: one entry per prompt token, None for the first, else {token id: {"logprob", "rank", …}}."""
    entries = choice.get("prompt_logprobs")
    if not entries or len(entries) != len(pair.context) + len(pair.continuation):
        raise ScoringFailed("the server ignored prompt_logprobs: its answer has no entry for each prompt token")
    last = entries[len(pair.context) :]
    chosen = [entry[str(token)] for entry, token in zip(last, pair.continuation, strict=True)]
    return Scored(tuple(one["logprob"] for one in chosen), tuple(one["rank"] == 1 for one in chosen))
