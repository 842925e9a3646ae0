from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from engines.registry import engines_by_name
from engines.types import Endpoint
from evals.api.formats import prompt_of
from evals.api.post import ScoringFailed
from evals.scoring.tgi_prefill import prompt_logprobs, read_prefill
from evals.scoring.types import Pair

DIALECT = engines_by_name()["tgi"].dialect


def _details(*ids: int) -> dict[str, object]:
    return {"prefill": [{"id": token, "logprob": -float(token), "text": "x"} for token in ids]}


def test_log_probabilities_of_the_continuation_are_read() -> None:
    assert prompt_logprobs(Pair((7, 8), (9, 5)), _details(7, 8, 9, 5)) == (-9.0, -5.0)


def test_other_tokens_are_no_result() -> None:
    with pytest.raises(ScoringFailed, match="made other tokens of the prompt's text than were counted here"):
        prompt_logprobs(Pair((7, 8), (9,)), _details(1, 7, 8, 9))


def test_an_empty_prefill_names_the_launchers_flag() -> None:
    with pytest.raises(ScoringFailed, match="its launcher needs --enable-prefill-logprobs"):
        prompt_logprobs(Pair((7,), (9,)), {"prefill": []})


def test_an_answer_without_details_is_no_result(tiny_model: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"generated_text": "x"})

    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://x") as client:
            endpoint = Endpoint("http://x", "", None, Path("log"), DIALECT, 0.0, {}, tokenizer=tiny_model)
            await read_prefill(client, endpoint, [Pair((2,), (5,))], lambda _: None)

    with pytest.raises(ScoringFailed, match="/generate answered without `details`"):
        asyncio.run(ask())


def test_text_needs_a_tokenizer() -> None:
    with pytest.raises(ValueError, match="takes text alone, and no tokenizer is known"):
        prompt_of(Endpoint("http://x", "", None, Path("log"), DIALECT, 0.0, {}), [1])
