from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from evals.api.post import ScoringFailed
from evals.scoring.logit_bias import force
from evals.scoring.types import Pair, Scored

PAIR = Pair((1, 2), (3,))
Answer = Callable[[dict[str, Any]], dict[str, Any]]


def _force(answer: Answer, tokens: list[int] | None = None) -> list[Scored]:
    """Force PAIR out of a server that gives these answers to /completion, and these tokens to /tokenize."""

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/tokenize":
            return httpx.Response(200, json={"tokens": tokens or [7]})
        return httpx.Response(200, json=answer(json.loads(request.content)))

    async def run() -> list[Scored]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handle), base_url="http://server") as client:
            return await force(client, [PAIR], lambda _: None)

    return asyncio.run(run())


def _entry(token: int, *top: tuple[int, float]) -> dict[str, Any]:
    names = [{"id": other, "logprob": value} for other, value in top]
    return {"completion_probabilities": [{"id": token, "logprob": -2.0, "top_logprobs": names}]}


def test_the_forced_token_and_the_most_likely_one() -> None:
    assert _force(lambda body: _entry(3, (3, -2.0))) == [Scored((-2.0,), (True,))]
    assert _force(lambda body: _entry(3, (9, -0.1))) == [Scored((-2.0,), (False,))]


def test_a_token_inside_a_character_is_found_among_all() -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        forced = body["logit_bias"][0][0]
        return {"content": ""} if forced == 3 else _entry(forced, (9, -0.5), (3, -4.5), (7, -6.0))

    assert _force(answer) == [Scored((-4.5,), (False,))]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda body: _entry(4, (4, -1.0)), "ignored logit_bias: it generated token 4 where 3 was forced"),
        (lambda body: {"content": "x"}, "ignored n_probs: it gave no log-probability of token 3"),
        (
            lambda body: {"completion_probabilities": [{"id": 3}]},
            "ignored n_probs: its answer has no log-probabilities",
        ),
    ],
)
def test_what_the_server_ignored_is_said(answer: Answer, words: str) -> None:
    with pytest.raises(ScoringFailed, match=words):
        _force(answer)
