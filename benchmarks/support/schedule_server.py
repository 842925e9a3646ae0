"""A completion server that sends its tokens on a known schedule: what a load client measures of it can be checked.

`python -m benchmarks.support.schedule_server PORT '{"ttft_seconds": 0.2, "tpot_seconds": 0.02, "chunk_tokens": 1}'`
listens on 127.0.0.1 and prints "ready". A request that was read at time t gets its chunk j (from 0) at
t + ttft + j × chunk_tokens × tpot; what falls into a stall is sent when that ends. OpenAI's `/v1/completions`,
streamed, with the tokens so far in every chunk. `GET /lateness` tells by how many seconds events were sent late
(median, 99th percentile, maximum).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field

import numpy as np

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Schedule:
    """Seconds. A stall begins so long after the first request, and holds back all that is due in it. `text_tokens` is
    what the server says that a prompt has which came as text. Planted faults: `cached_share` of each prompt is said to
    come from a prefix cache, and answers are so many tokens too short.
    """

    ttft_seconds: float
    tpot_seconds: float
    chunk_tokens: int = 1
    stall_after_seconds: float = 0.0
    stall_seconds: float = 0.0
    text_tokens: int = 0
    cached_share: float = 0.0
    missing_tokens: int = 0

    def sent_at(self, asked: float, chunk: int, first_asked: float) -> float:
        due = asked + self.ttft_seconds + chunk * self.chunk_tokens * self.tpot_seconds
        began = first_asked + self.stall_after_seconds
        return began + self.stall_seconds if began <= due < began + self.stall_seconds else due


def frame(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(prompt_tokens: int, tokens: int, text: str, cached_tokens: int = 0) -> bytes:
    usage: dict[str, object] = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": tokens,
        "total_tokens": prompt_tokens + tokens,
    }
    if cached_tokens:
        usage["prompt_tokens_details"] = {"cached_tokens": cached_tokens}
    choice = {"index": 0, "text": text, "finish_reason": None}
    return frame(b"data: " + json.dumps({"id": "c", "choices": [choice], "usage": usage}).encode() + b"\n\n")


@dataclass
class History:
    """When the first request came, and by how much events were late."""

    first_asked: float | None = None
    late: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Reply:
    """One request: when it was read, when the first of all was, and its tokens."""

    asked: float
    first_asked: float
    prompt_tokens: int
    output_tokens: int


class Connection(asyncio.Protocol):
    """One request at a time over a connection that is kept."""

    def __init__(self, schedule: Schedule, history: History) -> None:
        self._schedule, self._history, self._read = schedule, history, b""
        self._writer: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._writer = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, separator, body = self._read.partition(b"\r\n\r\n")
        if not separator:
            return
        size = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b": 0")
        if len(body) < int(size.split(b":")[1]):
            return
        self._read = b""
        if head.startswith(b"GET /lateness"):
            self._tell()
        elif head.startswith(b"GET "):  # other load generators look for its health and its metrics
            self._write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        else:
            self._answer(json.loads(body))

    def _answer(self, request: dict[str, object]) -> None:
        asked = time.perf_counter()
        if self._history.first_asked is None:
            self._history.first_asked = asked
        prompt = request["prompt"]
        prompt_tokens = len(prompt) if isinstance(prompt, list) else self._schedule.text_tokens
        output_tokens = max(int(str(request["max_tokens"])) - self._schedule.missing_tokens, 1)
        self._write(HEAD)
        self._plan(Reply(asked, self._history.first_asked, prompt_tokens, output_tokens), 0)

    def _plan(self, reply: Reply, chunk: int) -> None:
        """Each chunk is planned when the one before was sent: timers that are due at once have no order."""
        at, loop = self._schedule.sent_at(reply.asked, chunk, reply.first_asked), asyncio.get_running_loop()
        wait = at - time.perf_counter()
        if wait > 0:
            loop.call_later(wait, self._send, reply, chunk, at)
        else:
            loop.call_soon(self._send, reply, chunk, at)

    def _send(self, reply: Reply, chunk: int, at: float) -> None:
        before = chunk * self._schedule.chunk_tokens
        tokens = min(before + self._schedule.chunk_tokens, reply.output_tokens)
        cached_tokens = int(self._schedule.cached_share * reply.prompt_tokens)
        data = event(reply.prompt_tokens, tokens, " a" * (tokens - before), cached_tokens)
        last = tokens == reply.output_tokens
        self._write(data + frame(b"data: [DONE]\n\n") + b"0\r\n\r\n" if last else data)
        self._history.late.append(time.perf_counter() - at)
        if not last:
            self._plan(reply, chunk + 1)

    def _tell(self) -> None:
        body = json.dumps(np.percentile(self._history.late or [0.0], [50, 99, 100]).tolist()).encode()
        self._history.late.clear()
        self._history.first_asked = None
        self._write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def _write(self, data: bytes) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(data)


async def main() -> None:
    schedule, history, loop = Schedule(**json.loads(sys.argv[2])), History(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(schedule, history), "127.0.0.1", int(sys.argv[1]))
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
