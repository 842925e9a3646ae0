"""Log-probabilities of given tokens, asked for in the way that the server's dialect knows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx

from engines.types import Endpoint
from evals.api.post import ScoringFailed, ask, connect
from evals.scoring.logit_bias import force
from evals.scoring.requests import Job, jobs_for
from evals.scoring.tgi_prefill import read_prefill
from evals.scoring.types import Done, Pair, Scored

IN_FLIGHT = {"context_logits": 1, "score": 2, "prompt_logprobs": 4, "logprob_start_len": 2, "echo": 4}


def score(endpoint: Endpoint, pairs: Sequence[Pair], done: Done = lambda _: None) -> list[Scored]:
    """Score all pairs, concurrently, results in the order given. Raises ScoringFailed.

    `done` is called with (index, scores) of the pairs that were just finished.
    """
    return asyncio.run(_score(endpoint, pairs, done))


async def _score(endpoint: Endpoint, pairs: Sequence[Pair], done: Done) -> list[Scored]:
    strategy = endpoint.dialect.prompt_logprobs
    async with connect(endpoint) as client:
        if strategy == "none":
            raise ScoringFailed("this server gives no log-probabilities of a prompt: accuracy cannot be measured in it")
        if strategy == "forcing":
            return await force(client, pairs, done)
        if strategy == "prefill":
            return await read_prefill(client, endpoint, pairs, done)
        scores = await _run(client, jobs_for(endpoint.dialect, pairs), IN_FLIGHT[strategy], done)
    missing = len(pairs) - len(scores)
    if missing:
        raise ScoringFailed(f"the server left {missing} of {len(pairs)} pairs unanswered")
    return [scores[index] for index in range(len(pairs))]


async def _run(client: httpx.AsyncClient, jobs: Sequence[Job], in_flight: int, done: Done) -> dict[int, Scored]:
    results: dict[int, Scored] = {}
    waiting = iter(jobs)

    async def worker() -> None:
        for job in waiting:
            answer = await ask(client, job.path, job.body, rows=job.rows)
            try:
                filled = job.read(answer)
            except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
                message = f"{type(error).__name__}: {error}"
                raise ScoringFailed(f"{job.path} answered without what was asked for ({message})") from error
            results.update(filled)
            done(filled)

    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return results
