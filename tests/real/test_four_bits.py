"""Four-bit formats whose loading is easily got wrong, quantized and served for real: bits, gate, closeness."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from engines.device import cpu
from engines.environment import build, resolve
from engines.registry import engines_by_name
from engines.server import serve
from evals.gates import require, sanity
from evals.pairs import Pair
from evals.scoring import score
from flows.cells import Quantization
from flows.quantize import make_job, quantize
from flows.sources import Model
from quant.registry import methods

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    ("name", "changed", "bits"),
    [("bitsandbytes", {"weights": "nf4"}, 4.5), ("fp4", {"type": "mxfp4"}, 4.25)],
)
def test_it_is_what_it_says_and_answers_like_the_model(
    model: Model, tmp_path: Path, name: str, changed: dict[str, Any], bits: float
) -> None:
    method = methods()[name]
    parameters = {one.name: one.default for one in method.parameters} | changed
    environment = resolve(method.environment)
    build(environment)
    wanted = Quantization(0, method, name, parameters, method.scheme(parameters), method.format(parameters), None)
    checkpoint = quantize(make_job(model, wanted, environment, text="", base=Path(), threads=2))
    assert checkpoint.linear_bits_per_weight == pytest.approx(bits, abs=0.02)
    engine, served = engines_by_name()["transformers"], resolve("transformers")
    build(served)
    options = {option.name: option.default for option in engine.options}
    folder, log = Path(checkpoint.folder), tmp_path / "log"
    with serve(engine, served, folder, cpu(), options, threads=2, max_model_len=514, log=log) as (endpoint, _):
        assert require(sanity(endpoint, model.reference)).passed
        ids = model.reference["sanity_ids"]
        measured = score(endpoint, [Pair(tuple(ids[:1]), tuple(ids[1:]))])[0].logprobs
        assert endpoint.facts["dtype"] == "float32"
    ratio = math.exp(
        sum(a - b for a, b in zip(model.reference["sanity_logprobs"], measured, strict=True)) / len(measured)
    )
    assert 1.05 < ratio < 2.0
