"""HTTP/1.1 requests of the load client: what comes is only noted, with its time, and read when the load is over.

So the client costs the machine that is measured little. After a read it rests for REST_SECONDS, and then takes all that
came meanwhile, as network cards coalesce their interrupts: a read is noted that late at most, and only where others
came just before it. The parser is llhttp (`httptools`), as in uvicorn.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import httptools

from quant.errors import FailureKind, one_line

REST_SECONDS = 0.0005


@dataclass
class Answer:
    """`reads` are (perf_counter seconds, bytes of the body) as they arrived; `error` is None where all of it came, else
    `kind` is the kind of failure that it is.
    """

    status: int = 0
    reads: list[tuple[float, bytes]] = field(default_factory=list)
    error: str | None = None
    kind: FailureKind = "request-failed"

    @property
    def body(self) -> bytes:
        return b"".join(part for _, part in self.reads)


class _Rest:
    """Lets what comes together be read together: a wake-up costs more than a read."""

    def __init__(self) -> None:
        self._soon = False

    def soon(self) -> None:
        """When all that is known has been done; requests that follow on an answer are sent before."""
        if not self._soon:
            self._soon = True
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._now)

    def _now(self) -> None:
        self._soon = False
        time.sleep(REST_SECONDS)


class _Connection(asyncio.Protocol):
    """One connection, one request at a time. Named callbacks are httptools' and asyncio's."""

    def __init__(self, rest: _Rest, most_bytes: int) -> None:
        self._rest, self._most_bytes, self._left_bytes = rest, most_bytes, 0
        self._parser = httptools.HttpResponseParser(self)
        self._writer: asyncio.Transport | None = None
        self._answer, self._done = Answer(), asyncio.get_running_loop().create_future()
        self._now = 0.0
        self._delimited = False
        self.open = False

    async def ask(self, request: bytes) -> Answer:
        self._answer, self._done = Answer(), asyncio.get_running_loop().create_future()
        if self._writer is None or not self.open:
            self._answer.error = "the server closed the connection before it was asked"
            return self._answer
        self._left_bytes = self._most_bytes
        self._writer.write(request)
        await self._done
        return self._answer

    def close(self) -> None:
        self.open = False
        if self._writer is not None:
            self._writer.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._writer, self.open = cast(asyncio.Transport, transport), True

    def data_received(self, data: bytes) -> None:
        self._now = time.perf_counter()
        self._rest.soon()
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            return self._refuse(f"the answer is too long: over {self._most_bytes / 2**20:g} MiB")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # no HttpParserError
            self._refuse("the answer is not HTTP: the server changes to another protocol, which was not asked for")
        except httptools.HttpParserError as error:
            self._refuse(f"the answer is not HTTP: {error}")

    def _refuse(self, error: str) -> None:
        self._answer.kind = "garbage-output"
        self._finish(error)
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        complete = self._answer.status and not self._delimited and exc is None  # ends with the connection
        when = "in the middle of its answer" if self._answer.status else "before it answered"
        self._finish(None if complete else f"the server closed the connection {when}{f': {exc}' if exc else ''}")

    def on_message_begin(self) -> None:
        self._delimited = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._delimited = self._delimited or name.lower() in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        if not self._done.done():  # what follows on an answer in the same read is none
            self._answer.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._answer.reads.append((self._now, body))

    def on_message_complete(self) -> None:
        if 100 <= self._answer.status < 200 and not self._done.done():  # the answer is yet to come (RFC 9110, 15.2)
            self._answer.status = 0
            return
        if not self._parser.should_keep_alive():
            self.close()
        self._parser = httptools.HttpResponseParser(self)
        self._left_bytes = 0  # what comes unasked is no answer, and closes the connection
        self._finish(None)

    def _finish(self, error: str | None) -> None:
        if not self._done.done():
            self._answer.error = error
            self._done.set_result(None)


class Client:
    """Requests to one server, over connections that are kept and used again.

    Used as an asynchronous context manager, which closes them. `timeout_seconds` is for a whole request, `answer_bytes`
    for all that comes of an answer, whose parts are kept until the load is over.
    """

    def __init__(self, url: str, headers: Mapping[str, str], timeout_seconds: float, answer_bytes: int) -> None:
        parts = urlsplit(url)
        self._secure = ssl.create_default_context() if parts.scheme == "https" else None
        self._host, self._port = parts.hostname or "", parts.port or (443 if self._secure else 80)
        self._base, self._timeout_seconds = parts.path.rstrip("/"), timeout_seconds
        self._answer_bytes = answer_bytes
        lines = {"Host": parts.netloc, "Content-Type": "application/json", "Accept": "*/*", **headers}
        self._head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._idle: list[_Connection] = []
        self._keeps = True
        self._rest = _Rest()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._idle:
            connection.close()
        await asyncio.sleep(0)  # so that the loop sees them close

    def request(self, path: str, body: bytes) -> bytes:
        """The bytes of a POST, to be made before the load starts."""
        return f"POST {self._base}{path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    async def post(self, request: bytes) -> Answer:
        """The answer, or as much of it as came, with the error.

        A kept connection may have been closed by the server just before it was used again: then the request goes out
        once more, over a new one (RFC 9112, section 9.3.1), and no connection is kept any more: llama-server says that
        it keeps them and closes each, and requests that go out twice are late.
        """
        try:
            async with asyncio.timeout(self._timeout_seconds):
                while self._idle:
                    connection = self._idle.pop()
                    if not connection.open:
                        continue
                    answer = await self._ask(connection, request)
                    if answer.status or answer.error is None:
                        return answer
                    self._keeps = False
                return await self._ask(await self._connect(), request)
        except TimeoutError:
            limit = f"{self._timeout_seconds:g} s (`time_limits: request_seconds`)"
            return Answer(error=f"no answer for {limit}", kind="timeout")
        except OSError as error:
            return Answer(error=one_line(error))

    async def _ask(self, connection: _Connection, request: bytes) -> Answer:
        try:
            answer = await connection.ask(request)
        except asyncio.CancelledError:
            connection.close()  # what it still gets belongs to nobody
            raise
        if connection.open and self._keeps:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(
            lambda: _Connection(self._rest, self._answer_bytes), self._host, self._port, ssl=self._secure
        )
        return made
