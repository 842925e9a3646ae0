"""OpenVINO GenAI behind our server, on its own export of the sample model, against Transformers behind the same."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from engines.registry import engines_by_name
from engines.runtime.child_environment import child_environment
from engines.runtime.environments import build, resolve
from engines.runtime.own_packages import ROOT
from engines.runtime.server import serve
from engines.telemetry.device import cpu
from engines.types import Endpoint, Serving
from evals.accuracy.gates import golden_prompt, require, sanity
from evals.api.tokenizers import load_tokenizer, ordinary_ids
from evals.load.benchmark import measure_speed
from evals.load.prompts import Prompts
from evals.schema.load import LoadPoint
from evals.scoring.loglikelihood import score
from evals.scoring.types import Pair
from flows.execute.quantize_checkpoint import make_job, quantize
from flows.sources.models import Model
from flows.validate.matrix import Quantization
from quant.registry import methods
from quant.types import Checkpoint

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def checkpoint(model: Model) -> Checkpoint:
    environment = resolve("openvino")
    build(environment)
    method = methods()["openvino"]
    parameters = {parameter.name: parameter.default for parameter in method.parameters} | {"scheme": "F16"}
    wanted = Quantization(
        0, method, "openvino float16", parameters, method.scheme(parameters), method.format(parameters), None
    )
    return quantize(make_job(model, wanted, environment, text="", base=Path(), threads=2))


@pytest.mark.parametrize("module", ["openvino.tools.ovc.telemetry_utils", "nncf.telemetry.wrapper"])
def test_nothing_is_reported_to_its_makers(checkpoint: Checkpoint, module: str) -> None:
    """Both would start a process that asks a service on the web; each has a stub for where it cannot."""
    code = f"import engines.launchers, {module} as m; print(getattr(m, 'tm', None) or type(m.telemetry))"
    command = [*resolve("openvino").command, "-c", code]
    done = subprocess.run(command, env=child_environment({"PYTHONPATH": str(ROOT)}), capture_output=True, text=True)
    assert "stub" in done.stdout.lower() or "MagicMock" in done.stdout, done.stdout + done.stderr


@pytest.fixture(scope="module")
def openvino(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    engine, log = engines_by_name()["openvino"], tmp_path_factory.mktemp("openvino") / "log"
    options = {option.name: option.default for option in engine.options}
    folder, environment = Path(checkpoint.folder), resolve("openvino")
    with serve(engine, environment, Serving(folder, cpu(), 2, 514), options, log=log) as (endpoint, _):
        yield endpoint


def test_its_bits_are_read_from_its_graph(checkpoint: Checkpoint) -> None:
    assert checkpoint.bits_per_weight == pytest.approx(16.0, abs=0.01)
    assert checkpoint.linear_bits_per_weight is None
    assert checkpoint.tensor_types["f16"] > 200


def test_the_gates_pass(openvino: Endpoint, model: Model) -> None:
    assert require(golden_prompt(openvino, model.reference, "float32")).passed
    assert require(sanity(openvino, model.reference)).passed


def test_scores_are_those_of_transformers(openvino: Endpoint, endpoint: Endpoint, model: Model) -> None:
    """Prompts of more tokens than one pass takes, contexts that are shared, answers that are all most likely or not."""
    generator = random.Random(0)
    likely = tuple(model.reference["greedy_ids"][:5])
    pairs = [Pair(tuple(model.reference["golden_ids"]), likely), Pair(tuple(model.reference["golden_ids"]), likely[:2])]
    for size in (3, 40, 380):
        context = tuple(generator.choices(range(100, 40000), k=size))
        pairs += [Pair(context, tuple(generator.choices(range(100, 40000), k=length))) for length in (1, 2, 17)]
    for ours, theirs in zip(score(openvino, pairs), score(endpoint, pairs), strict=True):
        assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-3)
        assert all(ours.greedy) == all(theirs.greedy)
    assert all(score(openvino, pairs[:1])[0].greedy)


def test_it_generates_what_transformers_generates(openvino: Endpoint, model: Model) -> None:
    count = len(model.reference["greedy_ids"])
    body = {"prompt": model.reference["golden_ids"], "max_tokens": count, "temperature": 0, "ignore_eos": True}
    answer = httpx.post(openvino.url + "/v1/completions", json=body, headers=openvino.headers, timeout=120).json()
    assert answer["choices"][0]["token_ids"] == model.reference["greedy_ids"]
    assert answer["usage"]["completion_tokens"] == count


def test_the_load_client_counts_what_it_asked_for(openvino: Endpoint, model: Model) -> None:
    vocabulary = ordinary_ids(load_tokenizer(model.folder))
    load = LoadPoint(concurrency=3, requests=5, prompt_tokens=20, output_tokens=5)
    (speed,) = measure_speed(openvino, [load], Prompts(vocabulary), repeats=1, seed=0)
    assert [(request.prompt_tokens, request.output_tokens, len(request.chunks)) for request in speed.repeats[0]] == [
        (20, 5, 5)
    ] * 5
    answer = httpx.get(openvino.url + "/metrics", headers=openvino.headers)
    assert int(answer.text.split()[-1]) > 0
