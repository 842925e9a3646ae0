"""Engines that load plain safetensors, each really started on the sample model and held against Transformers."""

from __future__ import annotations

import random
from collections.abc import Iterator

import httpx
import psutil
import pytest

from engines.registry import engines_by_name
from engines.runtime.environments import build, resolve
from engines.runtime.prometheus import read_gauges, read_statistics
from engines.runtime.server import serve
from engines.telemetry.device import cpu
from engines.types import Endpoint, Serving
from evals.accuracy.gates import golden_prompt, require, sanity
from evals.api.tokenizers import load_tokenizer, ordinary_ids
from evals.load.benchmark import measure_speed
from evals.load.prompts import Prompts
from evals.schema.load import LoadPoint, Speed
from evals.scoring.generate import Prompt, generate
from evals.scoring.loglikelihood import score
from evals.scoring.types import Pair
from flows.sources.models import Model

pytestmark = pytest.mark.real


@pytest.fixture(scope="module", params=["deepspeed", "sglang", "triton"])
def other(request: pytest.FixtureRequest, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    engine, log = engines_by_name()[request.param], tmp_path_factory.mktemp(request.param) / "log"
    environment = resolve(engine.environments["cpu"])
    build(environment)
    options = {option.name: option.default for option in engine.options}
    with serve(engine, environment, Serving(model.folder, cpu(), 2, 514), options, log=log) as (endpoint, _):
        yield endpoint


def test_the_gates_pass(other: Endpoint, model: Model) -> None:
    assert require(golden_prompt(other, model.reference, "float32")).passed
    assert require(sanity(other, model.reference)).passed


def test_what_it_says_of_itself(other: Endpoint) -> None:
    assert other.facts["dtype"] == "float32"
    assert str(other.facts["version"])[0].isdigit()
    assert other.facts.get("weights_bytes", 538_060_288) == 538_060_288


def test_its_kv_cache_has_the_size_that_follows_from_the_model(other: Endpoint) -> None:
    if "kv_cache_bytes" not in other.facts:
        pytest.skip("this engine reports no KV cache")
    bytes_per_token = 46080  # 30 layers of 3 heads of 64, keys and values in float32
    tokens = float(other.facts["kv_cache_tokens"])
    assert float(other.facts["kv_cache_bytes"]) == pytest.approx(tokens * bytes_per_token, rel=0.01)


def test_scores_are_those_of_transformers(other: Endpoint, endpoint: Endpoint, model: Model) -> None:
    generator = random.Random(0)
    golden = tuple(model.reference["golden_ids"])
    pairs = [Pair(golden, tuple(model.reference["greedy_ids"][:5])), Pair(golden[:1], golden[1:])]
    for size in (1, 40, 380, 495):  # with 17 more the whole window, of which the last token is only predicted
        context = tuple(generator.choices(range(100, 40000), k=size))
        pairs += [Pair(context, tuple(generator.choices(range(100, 40000), k=length))) for length in (1, 2, 17)]
    for ours, theirs in zip(score(other, pairs), score(endpoint, pairs), strict=True):
        assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-3)
        assert ours.greedy == theirs.greedy


def test_it_generates_what_transformers_generates(other: Endpoint, endpoint: Endpoint, model: Model) -> None:
    prompts = [Prompt(tuple(model.reference["golden_ids"]), 12, ()), Prompt((504, 3575), 5, ())]
    assert generate(other, prompts) == generate(endpoint, prompts)


def test_the_load_client_counts_what_it_asked_for(other: Endpoint, model: Model) -> None:
    speed = _serve_a_few(other, model)
    for requests in speed.repeats:
        assert [(request.prompt_tokens, request.output_tokens, len(request.chunks)) for request in requests] == [
            (20, 5, 5)
        ] * 5


def test_the_server_s_own_statistics_count_its_requests(other: Endpoint, model: Model) -> None:
    if not other.dialect.statistics:
        pytest.skip("this engine keeps no statistics of requests")
    _serve_a_few(other, model)
    statistics = read_statistics(other.url + other.dialect.statistics, other.headers)
    assert statistics["server_requests"] >= 13  # 2 × 5 and the warm-up of 3
    assert 0 <= statistics["server_queue_seconds"] < 60


def test_the_server_s_own_gauge_shows_a_used_kv_cache(other: Endpoint, model: Model) -> None:
    gauge = other.dialect.kv_peak_gauge
    if not gauge or not other.metrics_url:
        pytest.skip("this engine has no gauge of its KV cache's peak")
    _serve_a_few(other, model)
    assert read_gauges(other.metrics_url, other.headers)[gauge] > 0


def _serve_a_few(other: Endpoint, model: Model) -> Speed:
    vocabulary = ordinary_ids(load_tokenizer(model.folder))
    load = LoadPoint(concurrency=3, requests=5, prompt_tokens=20, output_tokens=5)
    (speed,) = measure_speed(other, [load], Prompts(vocabulary), repeats=2, seed=0)
    return speed


def test_it_wants_the_key(other: Endpoint) -> None:
    body = {"prompt": [504], "max_tokens": 1, "temperature": 0, "stream": False, "ignore_eos": True}
    answer = httpx.post(other.url + other.dialect.completions, json=body, timeout=60)
    assert answer.status_code in (401, 403) or "the key is missing or wrong" in answer.text
    arguments = " ".join(
        word for process in psutil.Process(other.pid).children(recursive=True) for word in process.cmdline()
    )
    assert "--" in arguments
    assert other.api_key not in arguments


def test_pages_that_change_a_server_are_closed(other: Endpoint) -> None:
    if other.dialect.form != "kserve":
        pytest.skip("this engine has no such pages")
    for path in (
        "/v2/logging",
        "/v2/trace/setting",
        "/v2/repository/index",
        "/v2/systemsharedmemory/region/x/register",
    ):
        for headers in (other.headers, {"authorization": ""}, {}):
            assert httpx.post(other.url + path, json={}, headers=headers, timeout=60).status_code in (401, 403), path
