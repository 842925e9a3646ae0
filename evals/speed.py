"""The closed-loop load client. It knows a server's dialect and nothing of engines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

import httpx

from engines.spec import Endpoint
from evals.record import LoadPoint, Request, Speed
from evals.stream import Stream, StreamBroken, read_stream
from evals.wire import completion_body, completion_path, prompt_prefix
from evals.workload import synthetic_prompts

REQUEST_TIMEOUT_SECONDS = 600.0
Advance = Callable[[int], None]


class LoadFailed(Exception):
    """The server did not do what was asked (no answer, wrong token counts): its speed means nothing."""


def measure_speed(
    endpoint: Endpoint, loads: Sequence[LoadPoint], vocabulary: Sequence[int], *, repeats: int, seed: int,
    advance: Advance = lambda _: None,
) -> list[Speed]:  # fmt: skip
    """Run every load point `repeats` times, after a warm-up with prompts of its own.

    Raises LoadFailed where a request failed or had other token counts than asked for.
    """
    results = []
    for number, load in enumerate(loads):
        warm_up = LoadPoint(load.concurrency, load.concurrency, load.prompt_tokens, min(load.output_tokens, 4))
        _run(endpoint, warm_up, vocabulary, seed=seed, repeat=1_000_000 + number)
        measured = []
        for repeat in range(repeats):
            requests = _run(endpoint, load, vocabulary, seed=seed, repeat=1000 * number + repeat)
            measured.append(tuple(requests))
            advance(len(requests))
        results.append(Speed(load, tuple(measured)))
    return results


def _run(endpoint: Endpoint, load: LoadPoint, vocabulary: Sequence[int], *, seed: int, repeat: int) -> list[Request]:
    before = prompt_prefix(endpoint)
    drawn = synthetic_prompts(vocabulary, load.requests, load.prompt_tokens - len(before), seed=seed, repeat=repeat)
    prompts = [[*before, *prompt] for prompt in drawn]
    _flush(endpoint)
    requests = asyncio.run(_closed_loop(endpoint, load, prompts))
    for request in requests:
        _check(request, load)
    return requests


def _flush(endpoint: Endpoint) -> None:
    """Empty the server's prefix cache, where it has a path for it. Raises LoadFailed."""
    if endpoint.dialect.flush is None:
        return
    try:
        answer = httpx.post(endpoint.url + endpoint.dialect.flush, headers=endpoint.headers, timeout=60)
    except httpx.HTTPError as error:
        raise LoadFailed(f"the prefix cache could not be emptied: {type(error).__name__}: {error}") from error
    if answer.status_code != 200:
        said = f"HTTP {answer.status_code}: {answer.text[:300]}"
        raise LoadFailed(f"the prefix cache could not be emptied: {said}")


def _check(request: Request, load: LoadPoint) -> None:
    if request.error:
        raise LoadFailed(f"a request at concurrency {load.concurrency} failed: {request.error}")
    counts = (request.prompt_tokens, request.output_tokens)
    if counts != (load.prompt_tokens, load.output_tokens):
        raise LoadFailed(
            f"the server counted {counts[0]} prompt and {counts[1]} output tokens where {load.prompt_tokens} and "
            f"{load.output_tokens} were asked for"
        )
    if not request.chunks or request.chunks[-1][1] != request.output_tokens:
        seen = request.chunks[-1][1] if request.chunks else 0
        raise LoadFailed(
            f"the stream brought {seen} tokens where the server counted {request.output_tokens}: "
            "it does not tell how many tokens a chunk holds"
        )


async def _closed_loop(endpoint: Endpoint, load: LoadPoint, prompts: Sequence[list[int]]) -> list[Request]:
    """Keep `concurrency` requests in flight: each worker sends its next request when the last one ended."""
    waiting: Iterator[list[int]] = iter(prompts)
    limits = httpx.Limits(max_connections=load.concurrency, max_keepalive_connections=load.concurrency)
    async with httpx.AsyncClient(
        base_url=endpoint.url, headers=endpoint.headers, timeout=REQUEST_TIMEOUT_SECONDS, limits=limits
    ) as client:
        origin = time.perf_counter()

        async def worker() -> list[Request]:
            return [await _complete(client, endpoint, prompt, load.output_tokens, origin) for prompt in waiting]

        done = await asyncio.gather(*(worker() for _ in range(load.concurrency)))
    return sorted((request for part in done for request in part), key=lambda request: request.sent_seconds)


async def _complete(
    client: httpx.AsyncClient, endpoint: Endpoint, prompt: list[int], output_tokens: int, origin: float
) -> Request:
    stream, error = Stream(endpoint.dialect), None
    sent = time.perf_counter() - origin
    try:
        body = completion_body(endpoint, prompt, output_tokens, ignore_eos=True, stream=True)
        path = completion_path(endpoint.dialect, stream=True)
        async with client.stream("POST", path, json=body) as response:
            if response.status_code != 200:
                error = f"HTTP {response.status_code}: {(await response.aread()).decode(errors='replace')[:300]}"
            else:
                await read_stream(response, stream, lambda: time.perf_counter() - origin)
    except httpx.TimeoutException:
        error = f"no answer for {REQUEST_TIMEOUT_SECONDS:g} s"
    except (httpx.HTTPError, StreamBroken, ValueError) as problem:
        error = f"{type(problem).__name__}: {problem}"
    end = stream.chunks[-1][0] if stream.chunks and not error else time.perf_counter() - origin
    return Request(sent, tuple(stream.chunks), end, stream.prompt_tokens, stream.tokens, error)
