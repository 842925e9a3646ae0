"""The load client: requests in closed loops or at their own times, and what the client sees of itself meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from engines.redaction import excerpt
from engines.types import ServerFailed
from evals.load.http_client import Answer, Client
from evals.schema.load import ClientLoad
from quant.foreign_failures import kind_in

TICK_SECONDS = 0.01
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Exchange:
    """One request as it went: seconds on the monotonic clock (perf_counter)."""

    sent_seconds: float
    end_seconds: float
    answer: Answer


class RequestFailed(ServerFailed):
    """A request got no whole answer: the rest of its load would measure nothing, and is not sent."""


async def closed_loop(
    client: Client, conversations: Sequence[Sequence[bytes]], concurrency: int, advance: Advance
) -> tuple[list[Exchange], ClientLoad]:
    """Keep `concurrency` requests in flight: each worker sends its next request when the last one ended, those of a
    conversation one after the other. The exchanges are in the order of the conversations. Raises RequestFailed.
    """
    waiting: Iterator[tuple[int, Sequence[bytes]]] = iter(enumerate(conversations))
    exchanges: dict[int, list[Exchange]] = {}

    async def worker() -> None:
        for number, conversation in waiting:
            exchanges[number] = []
            for request in conversation:
                exchanges[number].append(await _ask(client, request))
                advance(1)

    watched = await _watched([worker() for _ in range(concurrency)])
    return [exchange for number in range(len(conversations)) for exchange in exchanges[number]], watched


async def open_load(
    client: Client, requests: Sequence[bytes], due_seconds: Sequence[float], origin: float, advance: Advance
) -> tuple[list[Exchange], ClientLoad]:
    """Send each request when it is due (seconds from `origin`), however many are in flight. Raises RequestFailed."""

    async def send(request: bytes, due: float) -> Exchange:
        while (wait := origin + due - time.perf_counter()) > 0:  # a timer may be a millisecond early
            await asyncio.sleep(wait)
        exchange = await _ask(client, request)
        advance(1)
        return exchange

    tasks = [asyncio.create_task(send(request, due)) for request, due in zip(requests, due_seconds, strict=True)]
    watched = await _watched(tasks)
    return [task.result() for task in tasks], watched


async def _ask(client: Client, request: bytes) -> Exchange:
    sent = time.perf_counter()
    answer = await client.post(request)
    if answer.status not in (0, 200):
        message = f"HTTP {answer.status}: {excerpt(answer.body.decode(errors='replace'))}"
        raise RequestFailed(message, kind=kind_in(message) or "request-failed")
    if answer.error:
        raise RequestFailed(answer.error, kind=answer.kind)
    return Exchange(sent, time.perf_counter(), answer)


async def _watched(work: Sequence[Awaitable[object]]) -> ClientLoad:
    """Run it all, or until something of it fails, and watch the event loop beside it."""
    lags: list[float] = []
    started, used = time.perf_counter(), time.process_time()
    watching = asyncio.create_task(_watch(lags))
    tasks = [asyncio.ensure_future(awaitable) for awaitable in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in (watching, *tasks):
            task.cancel()
        await asyncio.gather(watching, *tasks, return_exceptions=True)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - used
    late = np.percentile(lags, [50, 99, 100]) if lags else np.zeros(3)
    return ClientLoad(seconds, cpu_seconds, (float(late[0]), float(late[1]), float(late[2])))


async def _watch(lags: list[float]) -> None:
    while True:
        before = time.perf_counter()
        await asyncio.sleep(TICK_SECONDS)
        lags.append(max(time.perf_counter() - before - TICK_SECONDS, 0.0))
