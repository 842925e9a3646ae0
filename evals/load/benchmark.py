"""Speed of a server under given loads. It knows a server's dialect and nothing of engines."""

from __future__ import annotations

import json
import logging
import time
from array import array
from collections.abc import Sequence
from dataclasses import replace

import httpx
import uvloop

from engines.bounded_http import request as http_request
from engines.redaction import excerpt
from engines.types import Endpoint, ServerFailed
from evals.api.formats import completion_body, completion_path, prompt_prefix
from evals.load.arrivals import due_seconds
from evals.load.gc_paused import no_collection
from evals.load.generator import Advance, Exchange, RequestFailed, closed_loop, open_load
from evals.load.http_client import Client
from evals.load.prompts import Ask, Conversation, Prompts
from evals.load.sse import Stream, StreamBroken, read_stream
from evals.load.warm_up import warm_up
from evals.metrics.throughput import steady_rates
from evals.schema.load import ClientLoad, LoadPoint, Request, Speed
from evals.stats.intervals import two_stage_count
from quant.errors import one_line
from quant.hashing import digest

logger = logging.getLogger(__name__)

LEAST_FIRST_REPEATS = 3  # of two, the spread is hardly known
FLUSH_SECONDS = 60
# of an answer; the events of known servers have 200 to 900 bytes a token, and the last may hold all ids of the prompt
ANSWER_BYTES, TOKEN_BYTES = 4 * 2**20, 16 * 2**10
WARM_UP_DRAW = 10_000  # of prompts: far from those of a load's repeats


class LoadFailed(ServerFailed):
    """The server did not do what was asked (no answer, wrong token counts): its speed means nothing."""

    kind = "request-failed"


def measure_speed(
    endpoint: Endpoint,
    loads: Sequence[LoadPoint],
    prompts: Prompts,
    *,
    repeats: int,
    seed: int,
    visit: int = 1,
    advance: Advance = lambda _: None,
) -> list[Speed]:
    """Run every load point `repeats` times, or as many more as these say that it takes for the interval that it wants,
    after a warm-up with prompts of its own. Each `visit` has prompts of its own, the same for all cells.

    Raises LoadFailed where a request failed or had other token counts than asked for.
    """
    results = []
    for load in loads:
        draw = first_draw(replace(load, target_relative_ci=None, max_repeats=0))
        run_load(endpoint, warm_up(load), prompts, seed=seed, repeat=draw + WARM_UP_DRAW + visit - 1)
        target = load.target_relative_ci
        first = repeats if target is None else min(max(repeats, LEAST_FIRST_REPEATS), max(repeats, load.max_repeats))
        speed, wanted = Speed(load, (), first_repeats=0 if target is None else first), first
        while (done := len(speed.repeats)) < wanted:
            repeat = draw + (visit - 1) * repeats + done
            requests, client = run_load(endpoint, load, prompts, seed=seed, repeat=repeat, advance=advance)
            speed = replace(speed, repeats=(*speed.repeats, requests), clients=(*speed.clients, client))
            logger.debug("%s: repeat %d done", load.label, len(speed.repeats))
            if target is not None and len(speed.repeats) == first:  # the only look: more of them would cost confidence
                needed = two_stage_count([steady_rates(repeat)[0] for repeat in speed.repeats], target)
                wanted = int(min(needed, max(repeats, load.max_repeats)))
        results.append(speed)
    return results


def first_draw(load: object) -> int:
    """Where a load's own numbers of draws begin, whatever other loads there are: their prompts must not depend on it,
    nor be its.
    """
    return int(digest(load)[:12], 16) * WARM_UP_DRAW * 2


def run_load(
    endpoint: Endpoint, load: LoadPoint, prompts: Prompts, *, seed: int, repeat: int, advance: Advance = lambda _: None
) -> tuple[tuple[Request, ...], ClientLoad]:
    """One repeat of a load: its requests as they went, and what the client saw of itself.

    `seed` and `repeat` choose the prompts and arrivals. Raises LoadFailed as `measure_speed` does.
    """
    vocabulary = array("q", prompts.vocabulary)  # of 64 bits, as numpy reads it: a list is converted at every draw
    drawn = replace(prompts, vocabulary=vocabulary, before=prompt_prefix(endpoint)).draw(load, seed=seed, repeat=repeat)
    _flush(endpoint)
    due = None
    if load.concurrency is None:
        due = due_seconds(load, seed=seed, repeat=repeat, trace=prompts.traces.get(load.trace, ()))
    with no_collection():  # it would hold up the event loop
        requests, client = uvloop.run(_send(endpoint, load, drawn, due, advance))
    asked = [ask for conversation in drawn for ask in conversation]
    for request, ask in zip(requests, asked, strict=True):
        _check(request, ask, load, may_end=not endpoint.dialect.ignore_eos)
    return tuple(sorted(requests, key=lambda request: request.sent_seconds)), client


def _flush(endpoint: Endpoint) -> None:
    """Empty the server's prefix cache, where it has a path for it. Raises LoadFailed."""
    if endpoint.dialect.flush is None:
        return
    try:
        url = endpoint.url + endpoint.dialect.flush
        answer = http_request("POST", url, endpoint.headers, seconds=FLUSH_SECONDS)
    except httpx.HTTPError as error:
        raise LoadFailed(f"the prefix cache could not be emptied: {one_line(error)}") from error
    if answer.status_code != 200:
        message = f"HTTP {answer.status_code}: {excerpt(answer.text)}"
        raise LoadFailed(f"the prefix cache could not be emptied: {message}")


def _check(request: Request, ask: Ask, load: LoadPoint, *, may_end: bool) -> None:
    """An answer that the model ends (`may_end`: the server has no way to go on) is another load, and no result."""
    counts, wanted = (request.prompt_tokens, request.output_tokens), (len(ask.prompt), ask.output_tokens)
    if counts != wanted:
        fix = "; it cannot ignore the end of a text (ignore_eos). Ask for shorter answers" if may_end else ""
        message = (
            f"the server counted {counts[0]} prompt and {counts[1]} output tokens where {wanted[0]} and "
            f"{wanted[1]} were asked for{fix if counts[1] < wanted[1] else ''}"
        )
        raise LoadFailed(message, kind="wrong-token-counts")
    if not request.chunks or request.chunks[-1][1] != request.output_tokens:
        seen = request.chunks[-1][1] if request.chunks else 0
        message = (
            f"the stream brought {seen} tokens where the server counted {request.output_tokens}: "
            "it does not report how many tokens a chunk holds"
        )
        raise LoadFailed(message, kind="wrong-token-counts")


async def _send(
    endpoint: Endpoint, load: LoadPoint, drawn: Sequence[Conversation], due: Sequence[float] | None, advance: Advance
) -> tuple[list[Request], ClientLoad]:
    path = completion_path(endpoint.dialect, stream=True)
    most_bytes = ANSWER_BYTES + TOKEN_BYTES * max(ask.output_tokens for conversation in drawn for ask in conversation)
    async with Client(endpoint.url, endpoint.headers, endpoint.limits.request_seconds, most_bytes) as client:

        def request(ask: Ask) -> bytes:
            body = completion_body(endpoint, ask.prompt, ask.output_tokens, ignore_eos=True, stream=True)
            return client.request(path, json.dumps(body).encode())

        bodies = [[request(ask) for ask in conversation] for conversation in drawn]
        origin = time.perf_counter()
        try:
            if due is None:
                exchanges, watched = await closed_loop(client, bodies, load.concurrency or 1, advance)
            else:
                exchanges, watched = await open_load(client, [body for (body,) in bodies], due, origin, advance)
            dues = [None] * len(exchanges) if due is None else due
            requests = [_read(endpoint, exchange, at, origin) for exchange, at in zip(exchanges, dues, strict=True)]
        except (RequestFailed, StreamBroken) as error:
            raise LoadFailed(f"a request at {load.label} failed: {error}", kind=error.kind) from error
    return requests, replace(watched, origin_seconds=origin)


def _read(endpoint: Endpoint, exchange: Exchange, due: float | None, origin: float) -> Request:
    """What an exchange says, with times from `origin`. Raises StreamBroken."""
    stream = Stream(endpoint.dialect, origin)
    read_stream(exchange.answer.reads, stream)
    end = stream.chunks[-1][0] if stream.chunks else exchange.end_seconds - origin
    sent = exchange.sent_seconds - origin
    chunks, counts = tuple(stream.chunks), (stream.prompt_tokens, stream.tokens)
    return Request(sent, chunks, end, *counts, None, due, stream.cached_tokens)
