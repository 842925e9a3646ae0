"""Our thin server over the real SmolLM2-135M-Instruct: exact log-probabilities, batching that changes nothing."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from engines.types import Endpoint
from evals.accuracy.gates import golden_prompt, require, sanity
from evals.api.tokenizers import load_tokenizer, ordinary_ids, special_ids
from evals.load.benchmark import measure_speed
from evals.load.prompts import Prompts
from evals.schema.load import LoadPoint
from evals.scoring.loglikelihood import score
from evals.scoring.top_logprobs import tell
from evals.scoring.types import Pair
from flows.sources.models import Model

pytestmark = pytest.mark.real
# " capital", " of", " France", " is" after "The", in float32: five engines agree on them to four digits
GOLDEN = [-11.5382, -0.3376, -2.4406, -0.4524]


def _post(endpoint: Endpoint, body: dict[str, Any], path: str = "/v1/completions") -> httpx.Response:
    return httpx.post(endpoint.url + path, json=body, headers=endpoint.headers, timeout=120)


def _body(prompt: list[int] | str, tokens: int = 12, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, **more}


def test_the_golden_prompt(endpoint: Endpoint, model: Model) -> None:
    ids = model.reference["golden_ids"]
    assert score(endpoint, [Pair((ids[0],), tuple(ids[1:]))])[0].logprobs == pytest.approx(GOLDEN, abs=1e-3)
    assert require(golden_prompt(endpoint, model.reference, "float32")).passed
    assert require(sanity(endpoint, model.reference)).passed


def test_both_ways_to_ask_agree(endpoint: Endpoint, model: Model) -> None:
    ids = model.reference["sanity_ids"][:60]
    entries = _post(endpoint, _body(ids, 1, prompt_logprobs=0)).json()["choices"][0]["prompt_logprobs"]
    native = score(endpoint, [Pair((ids[0],), tuple(ids[1:]))])[0]
    assert [entry[str(t)]["logprob"] for entry, t in zip(entries[1:], ids[1:], strict=True)] == pytest.approx(
        native.logprobs, abs=1e-4
    )
    assert [entry[str(t)]["rank"] == 1 for entry, t in zip(entries[1:], ids[1:], strict=True)] == list(native.greedy)


def test_the_whole_vocabulary_is_a_distribution_and_holds_the_scores(endpoint: Endpoint, model: Model) -> None:
    ids = model.reference["sanity_ids"][:40]
    pairs = [
        Pair(tuple(ids[:10]), tuple(ids[10:13])),
        Pair(tuple(ids[:3]), tuple(ids[3:8])),
        Pair((ids[0],), (ids[1],)),
    ]
    together, alone = (tell(endpoint, pairs, lambda _: None, alone=single) for single in (False, True))
    for pair, distribution, other, scored in zip(pairs, together, alone, score(endpoint, pairs), strict=True):
        assert distribution.ids is None
        assert np.exp(distribution.logprobs.astype(float)).sum(axis=1) == pytest.approx(1.0, abs=1e-5)
        picked = distribution.logprobs[np.arange(len(pair.continuation)), pair.continuation]
        assert picked.tolist() == pytest.approx(scored.logprobs, abs=1e-4)
        assert distribution.chosen == pytest.approx(scored.logprobs, abs=1e-4)
        assert (distribution.logprobs.argmax(axis=1) == pair.continuation).tolist() == list(scored.greedy)
        np.testing.assert_allclose(distribution.logprobs, other.logprobs, atol=1e-3)


def test_a_shared_context_changes_nothing(endpoint: Endpoint) -> None:
    generator = random.Random(0)
    pairs = []
    for _ in range(6):
        context = tuple(generator.choices(range(100, 40000), k=generator.randint(1, 70)))
        lengths = generator.choices([1, 2, 5, 17], k=4)
        pairs += [Pair(context, tuple(generator.choices(range(100, 40000), k=length))) for length in lengths]
    together = score(endpoint, pairs)
    for pair, scored in zip(pairs, together, strict=True):
        (alone,) = score(endpoint, [pair])
        assert scored.logprobs == pytest.approx(alone.logprobs, abs=2e-4)
        assert scored.greedy == alone.greedy


def test_a_shared_beginning_changes_nothing(endpoint: Endpoint) -> None:
    """As few-shot examples are: run once for all, against each prompt alone."""
    generator = random.Random(1)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(generator.choices(range(100, 40000), k=count))

    pairs = []
    for beginning in (tokens(150), tokens(90)):
        for _ in range(5):
            context = (*beginning, *tokens(generator.randint(1, 40)))
            pairs += [Pair(context, tokens(length)) for length in (1, 1, 6)]
    pairs.append(Pair(pairs[0].context[:150], tokens(3)))  # the beginning itself, which is no other's end
    for pair, scored in zip(pairs, score(endpoint, pairs), strict=True):
        (alone,) = score(endpoint, [pair])
        assert scored.logprobs == pytest.approx(alone.logprobs, abs=2e-4)
        assert scored.greedy == alone.greedy


def test_batched_generation_equals_single(endpoint: Endpoint, model: Model) -> None:
    texts = ["The capital of France is", "Once upon a time", "def add(a, b):", "Water boils at", "In 1969,"]
    tokenizer = load_tokenizer(model.folder)
    prompts = [tokenizer.encode(text).ids for text in texts]
    alone = [_post(endpoint, _body(prompt)).json()["choices"][0]["token_ids"] for prompt in prompts]
    with ThreadPoolExecutor(len(prompts)) as pool:
        together = list(pool.map(lambda p: _post(endpoint, _body(p)).json()["choices"][0]["token_ids"], prompts))
    assert together == alone
    assert alone[0][: len(model.reference["greedy_ids"])][:12] == model.reference["greedy_ids"][:12]


def test_a_stream_gives_every_token_and_its_usage(endpoint: Endpoint) -> None:
    body = _body(
        "The capital of France is",
        6,
        stream=True,
        stream_options={"include_usage": True, "continuous_usage_stats": True},
    )
    lines = [line for line in _post(endpoint, body).text.splitlines() if line]
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line[6:]) for line in lines[:-1]]
    assert [chunk["usage"]["completion_tokens"] for chunk in chunks] == [1, 2, 3, 4, 5, 6, 6]
    assert "Paris" in "".join(chunk["choices"][0]["text"] for chunk in chunks[:-1])
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"


def test_the_end_token_ends(endpoint: Endpoint, model: Model) -> None:
    _, eos = special_ids(model.folder, load_tokenizer(model.folder))
    prompt = "<|im_start|>user\nSay yes.<|im_end|>\n<|im_start|>assistant\n"
    choice = _post(endpoint, _body(prompt, 200, ignore_eos=False)).json()["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert choice["token_ids"][-1] == eos


def test_a_wrong_key_and_a_bad_request_are_refused(endpoint: Endpoint) -> None:
    answer = httpx.post(endpoint.url + "/v1/completions", json=_body([1]), headers={"Authorization": "Bearer no"})
    assert answer.status_code == 401
    assert _post(endpoint, {"prompt": [1], "max_tokens": 4000, "temperature": 0}).status_code == 400
    broken = httpx.post(endpoint.url + "/score", content=b"{", headers=endpoint.headers)
    assert "the body is not JSON" in broken.text
    listed = httpx.post(endpoint.url + "/score", content=b"[]", headers=endpoint.headers)
    assert "the body must be a JSON object" in listed.text
    assert "prompt is empty" in _post(endpoint, _body("")).text
    assert httpx.get(endpoint.url + "/health").status_code == 200


def test_the_load_client_counts_what_it_asked_for(endpoint: Endpoint, model: Model) -> None:
    vocabulary = ordinary_ids(load_tokenizer(model.folder))
    load = LoadPoint(concurrency=3, requests=5, prompt_tokens=20, output_tokens=5)
    (speed,) = measure_speed(endpoint, [load], Prompts(vocabulary), repeats=1, seed=0)
    assert [(request.prompt_tokens, request.output_tokens, len(request.chunks)) for request in speed.repeats[0]] == [
        (20, 5, 5)
    ] * 5
