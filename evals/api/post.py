"""One question to a server, asked again where asking again can help."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import httpx

from engines.bounded_http import bounded, bounded_client, json_of
from engines.redaction import excerpt
from engines.types import Endpoint, ServerFailed
from quant.foreign_failures import kind_in

ATTEMPTS = 4
BUSY = (429, 503)
FIRST_WAIT_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 30.0
ANSWER_BYTES = 64 * 2**20  # the longest that is known has 30 MB: llama-server's, of one token's whole vocabulary
ROW_BYTES = 2**19 * 24  # of one position's whole vocabulary: the largest there is, its numbers as text


class ScoringFailed(ServerFailed):
    """The server's answer does not hold what was asked for, or there was none."""

    kind = "no-logprobs"


def connect(endpoint: Endpoint) -> httpx.AsyncClient:
    """A client of the server whose requests end by the limit of the plan."""
    client = bounded_client(endpoint.url, endpoint.headers)
    client.timeout = httpx.Timeout(endpoint.limits.scoring_seconds)
    return client


async def ask(client: httpx.AsyncClient, path: str, body: dict[str, Any], *, rows: int = 0) -> Any:
    """POST `body`, read a JSON object or list. Raises ScoringFailed.

    `rows`: of how many positions the whole vocabulary is asked for. A busy server (429, 503) is asked again after its
    Retry-After, else after a wait that doubles; so is one that dropped the connection, since scoring changes nothing
    there. A time-out and any other status are final.
    """
    for attempt in range(ATTEMPTS):
        wait = FIRST_WAIT_SECONDS * 2**attempt
        try:
            seconds, most_bytes = client.timeout.read or math.inf, ANSWER_BYTES + rows * ROW_BYTES
            answer = await bounded(client, "POST", path, seconds=seconds, most_bytes=most_bytes, json=body)
        except httpx.TimeoutException as error:
            message = f"{path} gave no whole answer in {client.timeout.read:g} s (`time_limits: scoring_seconds`)"
            raise ScoringFailed(message, kind="timeout") from error
        except httpx.TransportError as error:
            problem = f"{type(error).__name__}: {error}"
        else:
            if answer.status_code == 200:
                return _json(path, answer)
            problem = f"{answer.status_code}: {excerpt(answer.text)}"
            if answer.status_code not in BUSY:
                raise _refused(f"{path} answered {problem}")
            wait = _retry_after(answer, wait)
        if attempt + 1 < ATTEMPTS:
            await asyncio.sleep(min(wait, LONGEST_WAIT_SECONDS))
    raise _refused(f"{path} failed {ATTEMPTS} times, at last with {problem}")


def _refused(message: str) -> ScoringFailed:
    """The server's own words may tell why."""
    return ScoringFailed(message, kind=kind_in(message) or "request-failed")


def _json(path: str, answer: httpx.Response) -> Any:
    try:
        body = json_of(answer)
    except ValueError as error:
        message = f"{path} answered with what is not JSON: {excerpt(answer.text, 100)!r}"
        raise ScoringFailed(message, kind="garbage-output") from error
    if not isinstance(body, dict | list) or "error" in body:
        raise _refused(f"{path} answered {excerpt(str(body))}")
    return body


def _retry_after(answer: httpx.Response, otherwise: float) -> float:
    """Seconds of the header; its date form is not used by servers of language models."""
    try:
        seconds = float(answer.headers.get("retry-after", otherwise))
    except ValueError:
        return otherwise
    return seconds if 0 <= seconds < math.inf else otherwise
