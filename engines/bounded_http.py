"""HTTP requests to servers that nobody vouches for: each has an end in time and in bytes, whatever comes.

A time-out of `httpx` starts anew at every byte, and so at every `100 Continue`; an answer of any length is kept whole.
Here a request that has not ended by its deadline is given up, and so is an answer over its bytes. Answers are asked for
uncompressed, and compressed ones are refused: a kilobyte may hold a megabyte. Only the load client has its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from engines.addresses import trusts_environment

PAGE_BYTES = 8 * 2**20  # of what servers tell of themselves; the longest that is known, vLLM's gauges, has 0.2 MB
UNCOMPRESSED = {"Accept-Encoding": "identity"}


def bounded_client(url: str, headers: Mapping[str, str]) -> httpx.AsyncClient:
    """A client for `bounded`, which sets the limits; `url` is what its requests' paths follow on."""
    trusted = trusts_environment(url)
    verify = trusted or url.startswith("https")  # certificates take 20 ms to load, and a loopback address has none
    every = {**headers, **UNCOMPRESSED}
    return httpx.AsyncClient(base_url=url, headers=every, timeout=None, trust_env=trusted, verify=verify)


async def bounded(
    client: httpx.AsyncClient, method: str, path: str, *, seconds: float, most_bytes: int = PAGE_BYTES, **fields: Any
) -> httpx.Response:
    """The whole answer; `fields` are those of `httpx` (`json`, `content`).

    Raises httpx.ReadTimeout where it has not ended after `seconds`, httpx.RemoteProtocolError where it is over
    `most_bytes` or compressed, and other httpx.TransportErrors.
    """
    content = bytearray()
    try:
        async with asyncio.timeout(seconds), client.stream(method, path, **fields) as answer:
            if (encoding := answer.headers.get("content-encoding", "identity")) != "identity":
                raise httpx.RemoteProtocolError(f"the answer is compressed, which was not asked for: {encoding[:40]}")
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > most_bytes:
                    raise httpx.RemoteProtocolError(f"the answer is too long: over {most_bytes / 2**20:g} MiB")
    except TimeoutError as error:
        raise httpx.ReadTimeout(f"the answer had not ended after {seconds:g} s") from error
    received = httpx.Response(
        answer.status_code, headers=answer.headers, content=bytes(content), request=answer.request
    )
    received.encoding = "utf-8"  # a charset of the server's may be one that Python cannot read with
    return received


def request(
    method: str, url: str, headers: Mapping[str, str], *, seconds: float, most_bytes: int = PAGE_BYTES, json: Any = None
) -> httpx.Response:
    """One request of its own, for code that is not asynchronous. Raises as `bounded` does."""

    async def ask() -> httpx.Response:
        async with bounded_client(url, headers) as client:
            return await bounded(client, method, url, seconds=seconds, most_bytes=most_bytes, json=json)

    return asyncio.run(ask())


def json_of(answer: httpx.Response) -> Any:
    """The JSON of an answer. Raises ValueError where it is none, or nested deeper than Python reads."""
    try:
        return answer.json()
    except RecursionError as error:
        raise ValueError("JSON that is nested too deep") from error
