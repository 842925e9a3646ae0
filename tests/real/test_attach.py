"""`openai` attached to real servers that another engine started: what it finds, and that it measures the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.registry import engines_by_name
from engines.runtime.server import attach
from engines.types import Attached, Endpoint
from evals.accuracy.gates import golden_prompt, require, sanity
from evals.api.tokenizers import load_tokenizer, ordinary_ids
from evals.load.benchmark import measure_speed
from evals.load.prompts import Prompts
from evals.schema.load import LoadPoint
from evals.scoring.loglikelihood import score
from evals.scoring.types import Pair
from flows.sources.models import Model

pytestmark = pytest.mark.real


@pytest.fixture
def attached(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    monkeypatch.setenv("THEIR_KEY", endpoint.api_key)
    return attach(
        engines_by_name()["openai"], Attached(endpoint.url, "THEIR_KEY", "served"), endpoint.log.parent, Path("log")
    )


def test_it_finds_what_our_server_can_do(attached: Endpoint, model: Model) -> None:
    assert attached.dialect.prompt_logprobs == "prompt_logprobs"
    assert attached.dialect.chunk_tokens == "usage"
    assert attached.dialect.ignore_eos
    assert require(golden_prompt(attached, model.reference, "float32")).passed
    assert require(sanity(attached, model.reference)).passed


def test_it_measures_the_same(attached: Endpoint, endpoint: Endpoint, model: Model) -> None:
    ids = model.reference["sanity_ids"]
    pairs = [Pair(tuple(ids[:9]), tuple(ids[9:30])), Pair(tuple(ids[:40]), tuple(ids[40:41]))]
    for ours, theirs in zip(score(attached, pairs), score(endpoint, pairs), strict=True):
        assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-4)
        assert ours.greedy == theirs.greedy
    load = LoadPoint(concurrency=2, requests=3, prompt_tokens=20, output_tokens=5)
    (speed,) = measure_speed(attached, [load], Prompts(ordinary_ids(load_tokenizer(model.folder))), repeats=2, seed=0)
    assert [(request.prompt_tokens, request.output_tokens) for request in speed.repeats[0]] == [(20, 5)] * 3
