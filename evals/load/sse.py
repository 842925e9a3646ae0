"""One streamed completion: server-sent events off the wire, and what they say about tokens and times.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html, of which servers of language models use
`data:` lines, one JSON object each, and `data: [DONE]` at the end; Ollama's are lines of JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from engines.redaction import excerpt
from engines.types import Dialect, ServerFailed
from evals.api.formats import read_event
from quant.foreign_failures import kind_in

END_MARKER = b"[DONE]"
LINE_BYTES = 4 * 2**20


class StreamBroken(ServerFailed):
    """The server said that it failed, ended without its end marker, or sent what cannot be read."""

    kind = "garbage-output"


@dataclass(slots=True)
class Stream:
    """What has arrived of one completion.

    `chunks` are (seconds from `origin_seconds`, tokens so far) of each chunk that brought tokens.
    """

    dialect: Dialect
    origin_seconds: float = 0.0
    chunks: list[tuple[float, int]] = field(default_factory=list)
    tokens: int = 0
    prompt_tokens: int = 0
    cached_tokens: int | None = None
    ended: bool = False

    def take(self, payload: dict[str, Any], now: float) -> None:
        """Note one event. Raises StreamBroken with the server's words if it is an error."""
        try:
            piece = read_event(self.dialect, payload)
            counts = [count for count in (piece[1], piece[2], piece[3], piece[7], piece[8]) if count is not None]
            if any(type(count) is not int for count in counts):
                raise TypeError(f"{counts!r:.60} are not counts of tokens")
        except (KeyError, IndexError, TypeError, ValueError, ArithmeticError, AttributeError) as problem:
            message = f"{type(problem).__name__}: {problem}"
            raise StreamBroken(
                f"an event is not of the form that was expected ({message}): {excerpt(str(payload), 100)}"
            ) from problem
        text, so_far, counted, prompt_tokens, closing, last, error, added, cached = piece
        if error is not None:
            raise StreamBroken(error, kind=kind_in(error) or "request-failed")
        if prompt_tokens is not None:
            self.prompt_tokens = prompt_tokens
        if cached is not None:
            self.cached_tokens = cached
        if not closing:
            if so_far is None:  # a chunk that does not say how many tokens it holds brings one if it brings text
                so_far = self.tokens + (added if added is not None else 1 if text else 0)
            if so_far > self.tokens:
                self.chunks.append((now - self.origin_seconds, so_far))
            self.tokens = so_far
        if counted is not None:
            self.tokens = counted
        self.ended = last


def read_stream(reads: Iterable[tuple[float, bytes]], stream: Stream) -> None:
    """Feed `stream` with what arrived, to its end, which the form marks or the connection. Raises StreamBroken."""
    form = stream.dialect.form
    for now, data in _events(reads, bare=form == "ollama"):
        try:
            payload = orjson.loads(data)
        except ValueError as error:
            if data.strip() == END_MARKER:
                return
            raise StreamBroken(f"an event is not JSON: {excerpt(data.decode(errors='replace'), 100)!r}") from error
        stream.take(payload, now)
    if form not in ("kserve", "text_input") and not stream.ended:
        marker = "[DONE]" if form == "openai" else "(an event with the counts)"
        raise StreamBroken(f"the stream ended without its end marker {marker}")


def _events(reads: Iterable[tuple[float, bytes]], *, bare: bool) -> Iterator[tuple[float, bytes]]:
    """What the `data:` lines hold, with the time at which their ends came; `error:` lines (llama-server) as an event
    with that error. Of a `bare` stream every line that is not empty. Raises StreamBroken where a line does not end.

    Cut at line feeds alone: text may hold U+2028 and others that `splitlines` cuts at. JSON lets carriage returns be.
    """
    rest = b""
    for now, part in reads:
        lines = (rest + part).split(b"\n")
        rest = lines.pop()
        if len(rest) > LINE_BYTES:
            raise StreamBroken(f"a line of the stream is too long: over {LINE_BYTES / 2**20:g} MiB")
        for line in lines:
            if bare:
                if line.strip():
                    yield now, line
            elif line[:5] == b"data:":
                yield now, line[5:]
            elif line and line[:6] == b"error:":
                yield now, b'{"error": ' + line[6:] + b"}"
