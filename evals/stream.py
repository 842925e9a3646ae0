"""One streamed completion: server-sent events off the wire, and what they say about tokens and times.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html, of which servers of language models use
`data:` lines, one JSON object each, and `data: [DONE]` at the end.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from engines.spec import Dialect

END_MARKER = b"[DONE]"


class StreamBroken(Exception):
    """The server said that it failed, ended without its end marker, or sent what cannot be read."""


@dataclass
class Stream:
    """What has arrived of one completion: `chunks` are (seconds, tokens so far) of each chunk that brought tokens."""

    dialect: Dialect
    chunks: list[tuple[float, int]] = field(default_factory=list)
    tokens: int = 0
    prompt_tokens: int = 0

    def take(self, payload: dict[str, Any], now: float) -> None:
        """Note one event. Raises StreamBroken with the server's words if it is an error."""
        if "error" in payload:
            error = payload["error"]
            raise StreamBroken(str(error.get("message", error) if isinstance(error, dict) else error)[:300])
        usage = payload.get("usage") or {}
        self.prompt_tokens = usage.get("prompt_tokens", self.prompt_tokens)
        if not payload.get("choices"):  # a closing event with usage alone
            self.tokens = usage.get("completion_tokens", self.tokens)
            return
        counted = self._count(payload)
        if counted > self.tokens:
            self.chunks.append((now, counted))
        self.tokens = usage.get("completion_tokens", counted)

    def _count(self, payload: dict[str, Any]) -> int:
        """Tokens so far, as the dialect tells them; a chunk that does not say so brings one if it brings text."""
        if self.dialect.chunk_tokens == "usage" and "completion_tokens" in (payload.get("usage") or {}):
            return int(payload["usage"]["completion_tokens"])
        if self.dialect.chunk_tokens == "timings" and "predicted_n" in (payload.get("timings") or {}):
            return int(payload["timings"]["predicted_n"])
        return self.tokens + (1 if payload["choices"][0].get("text") else 0)


async def read_stream(response: httpx.Response, stream: Stream, clock: Callable[[], float] = time.perf_counter) -> None:
    """Feed `stream` until the end marker. Raises StreamBroken, or httpx's errors where the connection broke."""
    async for data in _events(response):
        now = clock()
        if data == END_MARKER:
            return
        try:
            payload = json.loads(data)
        except ValueError as error:
            raise StreamBroken(f"an event is not JSON: {data[:100]!r}") from error
        stream.take(payload, now)
    raise StreamBroken("the stream ended without its end marker [DONE]")


async def _events(response: httpx.Response) -> AsyncIterator[bytes]:
    """The `data:` lines. Cut at line feeds alone: text may hold U+2028 and others that `splitlines` cuts at."""
    rest = b""
    async for part in response.aiter_bytes():
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            if line.startswith((b"data:", b"error:")):
                name, _, value = line.partition(b":")
                data = value.strip()
                yield data if name == b"data" else b'{"error": ' + data + b"}"
