"""Our server's pages around one model, whatever runs it: completions, models, scores, health, version and metrics.

Listens on 127.0.0.1 only and wants the key in BITFRONTIER_API_KEY as a bearer token on every path but /health.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
from collections.abc import AsyncIterator
from concurrent.futures import Future
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from tokenizers.decoders import DecodeStream

from engines.reference_server.api_schema import (
    BadRequest,
    Completion,
    Item,
    Limits,
    Scored,
    choice,
    event,
    prompt_logprobs,
    read_completion,
    read_items,
    usage,
)
from engines.reference_server.requests import Generation, Runner, ScoreJob, Served

Tokens = asyncio.Queue[tuple[int, str | None]]


class Server:
    """The request handlers around one loaded model and the thread that runs it."""

    def __init__(self, served: Served, runner: Runner, max_model_len: int, api_key: str) -> None:
        self._served = served
        self._runner = runner
        self._limits = Limits(served.vocabulary, max_model_len)
        self._api_key = api_key

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/health", self.health),
                Route("/version", self.version),
                Route("/v1/models", self.models),
                Route("/metrics", self.metrics),
                Route("/v1/completions", self.completions, methods=["POST"]),
                Route("/score", self.score, methods=["POST"]),
            ],
            exception_handlers={BadRequest: _bad_request},
        )

    async def health(self, request: Request) -> Response:
        return PlainTextResponse("ok")

    async def version(self, request: Request) -> Response:
        self._check_key(request)
        return JSONResponse(dict(self._served.versions))

    async def models(self, request: Request) -> Response:
        self._check_key(request)
        return JSONResponse({"object": "list", "data": [{"id": "served", "object": "model"}]})

    async def metrics(self, request: Request) -> Response:
        self._check_key(request)
        return PlainTextResponse(f"bitfrontier_kv_cache_peak_bytes {self._runner.peak_cache_bytes}\n")

    async def score(self, request: Request) -> Response:
        body = await self._body(request)
        results = await self._scores(read_items(body, self._limits))
        return JSONResponse({"scores": [[scored.as_json() for scored in scores] for scores in results]})

    async def completions(self, request: Request) -> Response:
        body = await self._body(request)
        wanted = read_completion(body, self._encode, self._limits)
        generation, tokens = self._submit(wanted)
        if wanted.stream:
            return StreamingResponse(self._stream(wanted, generation, tokens), media_type="text/event-stream")
        produced, reason = [], None
        while reason is None:
            token, reason = await tokens.get()
            produced.append(token)
        answer = choice(self._served.tokenizer.decode(produced), reason, produced)
        if wanted.prompt_logprobs:
            scored = None
            if len(wanted.prompt) > 1:
                scored = (await self._scores([Item(wanted.prompt[:1], [wanted.prompt[1:]])]))[0][0]
            answer["prompt_logprobs"] = prompt_logprobs(wanted.prompt, scored)
        return JSONResponse(
            {"object": "text_completion", "choices": [answer], "usage": usage(len(wanted.prompt), len(produced))}
        )

    def _submit(self, wanted: Completion) -> tuple[Generation, Tokens]:
        tokens: Tokens = asyncio.Queue()
        event_loop = asyncio.get_running_loop()

        def emit(token: int, reason: str | None) -> None:
            event_loop.call_soon_threadsafe(tokens.put_nowait, (token, reason))

        stops = frozenset() if wanted.ignore_eos else self._served.stop_ids
        generation = Generation(wanted.prompt, wanted.max_tokens, stops, emit)
        self._runner.submit(generation)
        return generation, tokens

    async def _stream(self, wanted: Completion, generation: Generation, tokens: Tokens) -> AsyncIterator[bytes]:
        decoder, count, reason = DecodeStream(skip_special_tokens=True), 0, None
        try:
            while reason is None:
                token, reason = await tokens.get()
                count += 1
                text = decoder.step(self._served.tokenizer, token) or ""
                payload: dict[str, Any] = {"object": "text_completion", "choices": [choice(text, reason, [token])]}
                if wanted.chunk_usage:
                    payload["usage"] = usage(len(wanted.prompt), count)
                yield event(payload)
            yield event({"object": "text_completion", "choices": [], "usage": usage(len(wanted.prompt), count)})
            yield b"data: [DONE]\n\n"
        finally:
            generation.cancelled = True  # a client that went away leaves the batch at the next step

    async def _scores(self, items: list[Item]) -> list[list[Scored]]:
        future: Future[list[list[Scored]]] = Future()
        self._runner.submit(ScoreJob(items, future))
        return await asyncio.wrap_future(future)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._served.tokenizer.encode(text).ids
        if not ids:
            raise BadRequest("prompt is empty")
        return ids

    def _check_key(self, request: Request) -> None:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._api_key}".encode()):
            raise BadRequest("the Authorization header does not hold this server's key", 401)

    async def _body(self, request: Request) -> dict[str, Any]:
        self._check_key(request)
        try:
            body = json.loads(await request.body())
        except ValueError as error:
            raise BadRequest(f"the body is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise BadRequest("the body must be a JSON object")
        return body


async def _bad_request(request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, BadRequest) else 400
    return JSONResponse({"error": {"message": str(error), "code": status}}, status_code=status)


def serve(served: Served, runner: Runner, port: int, max_model_len: int) -> None:
    """Answer requests on the loopback address until the process is ended."""
    server = Server(served, runner, max_model_len, os.environ["BITFRONTIER_API_KEY"])
    uvicorn.run(server.app(), host="127.0.0.1", port=port, log_level="warning", access_log=False)
