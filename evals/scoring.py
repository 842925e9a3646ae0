"""Log-probabilities of given tokens, asked for in the way that the server's dialect knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import httpx

from engines.spec import Endpoint
from evals.ask import ScoringFailed, ask
from evals.forcing import force
from evals.pairs import Pair, Scored
from evals.prefill import read_prefill
from evals.score_requests import Job, jobs_for

TIMEOUT_SECONDS = 1800.0
IN_FLIGHT = {"context_logits": 1, "score": 2, "prompt_logprobs": 4, "logprob_start_len": 2, "echo": 4}
Advance = Callable[[int], None]


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
        if strategy == "prefill":
            return await read_prefill(client, endpoint, pairs, advance)
        found = await _run(client, jobs_for(endpoint.dialect, pairs), IN_FLIGHT[strategy], advance)
    missing = len(pairs) - len(found)
    if missing:
        raise ScoringFailed(f"the server left {missing} of {len(pairs)} pairs unanswered")
    return [found[index] for index in range(len(pairs))]


async def _run(client: httpx.AsyncClient, jobs: Sequence[Job], in_flight: int, advance: Advance) -> dict[int, Scored]:
    results: dict[int, Scored] = {}
    waiting = iter(jobs)

    async def worker() -> None:
        for job in waiting:
            answer = await ask(client, job.path, job.body)
            try:
                results.update(job.read(answer))
            except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
                what = f"{type(error).__name__}: {error}"
                raise ScoringFailed(f"{job.path} answered without what was asked for ({what})") from error
            advance(job.count)

    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return results
