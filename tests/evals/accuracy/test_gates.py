from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.runtime.server import serve
from engines.types import Endpoint, Serving
from evals.accuracy.gates import (
    GateFailed,
    _beginning,
    _repeats,
    apart_from_calibration,
    apart_from_source_grid,
    golden_prompt,
    require,
    sanity,
    whole_contexts,
)
from evals.scoring.loglikelihood import score
from evals.scoring.types import Pair
from quant.types import Scheme
from tests.support.checkpoints import write_gridded_model
from tests.support.fake_engine import CPU, HERE, fake_engine


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    with serve(fake_engine(), HERE, Serving(tmp_path, CPU, 1, 64), {}, log=tmp_path / "log") as (server, _):
        yield server


def _reference(endpoint: Endpoint) -> dict[str, Any]:
    ids = [3, 4, 5, 6, 7]
    values = list(score(endpoint, [Pair((3,), (4, 5, 6, 7))])[0].logprobs)
    return {
        "golden_ids": ids,
        "golden_logprobs": values,
        "long_items": [
            {"context": ids[:2], "continuation": ids[2:], "logprobs": values[1:]},
            {"context": ids[:3], "continuation": ids[3:], "logprobs": values[2:]},
        ],
        "sanity_ids": ids,
        "sanity_logprobs": values,
        "greedy_ids": [1, 2],
        "rounding_nats": {"bfloat16": {"stored": 0.02, "computed": 0.129}},
    }


def test_an_engine_that_agrees_passes(endpoint: Endpoint) -> None:
    reference = _reference(endpoint)
    assert require(golden_prompt(endpoint, reference, "float32")).passed
    assert require(sanity(endpoint, reference)).passed


def test_log_probabilities_shifted_by_one_fail(endpoint: Endpoint) -> None:
    reference = _reference(endpoint)
    values = reference["golden_logprobs"]
    reference["golden_logprobs"] = [*values[1:], values[0]]
    with pytest.raises(GateFailed, match="gate 'golden prompt' failed"):
        require(golden_prompt(endpoint, reference, "float32"))


def test_a_long_context_that_differs_alone_fails(endpoint: Endpoint) -> None:
    """As a hole in a window of attention did: the short text is right all the same."""
    reference = _reference(endpoint)
    reference["long_items"][1]["logprobs"] = [value + 0.2 for value in reference["long_items"][1]["logprobs"]]
    with pytest.raises(GateFailed, match=r"differ from the float32 reference by at most 2\.0e-01 nats"):
        require(golden_prompt(endpoint, reference, "float32"))


def test_the_tolerance_belongs_to_the_type(endpoint: Endpoint) -> None:
    reference = _reference(endpoint)
    reference["golden_logprobs"] = [value + 0.01 for value in reference["golden_logprobs"]]
    assert not golden_prompt(endpoint, reference, "float32").passed
    assert golden_prompt(endpoint, reference, "bfloat16").passed
    assert golden_prompt(endpoint, reference, "unknown").passed


@pytest.mark.parametrize(
    ("off", "dtype", "stored", "passes"),
    [
        (0.2, "bfloat16", "float32", True),  # plain Transformers in bfloat16 is off by 0.129
        (0.27, "bfloat16", "float32", False),
        (0.09, "unknown", "float32", True),
        (0.2, "unknown", "float32", False),
        (0.27, "bfloat16", "bfloat16", False),  # computing in it rounds the weights already
        (0.015, "float16", "float32", True),
        (0.03, "float16", "float32", False),
        (0.03, "float32", "bfloat16", True),  # weights rounded to bfloat16: 0.02
        (0.03, "float32", "float16", False),  # nothing was rounded
    ],
)
def test_what_rounding_does_to_this_model_is_allowed_twice(
    endpoint: Endpoint, off: float, dtype: str, stored: str, passes: bool
) -> None:
    reference = _reference(endpoint)
    reference["golden_logprobs"] = [value + off for value in reference["golden_logprobs"]]
    assert golden_prompt(endpoint, reference, dtype, stored).passed == passes


def test_garbage_fails_the_sanity_gate(endpoint: Endpoint) -> None:
    reference = _reference(endpoint)
    reference["sanity_logprobs"] = [value / 10 for value in reference["sanity_logprobs"]]
    with pytest.raises(GateFailed, match="perplexity of a short text"):
        require(sanity(endpoint, reference))


@pytest.mark.parametrize(
    ("answer", "tokens", "repeats"),
    [
        ("今天天气很好我们去公园", 11, False),
        ("東京は日本の首都です", 8, False),
        ("วันนี้อากาศดี", 6, False),
        ("the cat sat", 3, False),
        ("Paris.", 2, False),
        ("1", 1, False),
        ("好好好好好好", 6, True),
        ("你好你好你好", 3, True),
        ("the the the the", 4, True),
        ("the the", 4, True),
        ("!!!!!!!!", 4, True),
        ("", 4, True),
        (" \n", 2, True),
        ("\ufffd" * 7, 16, True),
        ("foofoofoo", 3, True),
    ],
)
def test_an_answer_that_repeats_one_token(answer: str, tokens: int, repeats: bool) -> None:
    assert _repeats(answer, tokens) == repeats


@pytest.mark.parametrize(
    ("answer", "expected", "alike"),
    [
        ("今天天气很好", "今天下雨了", True),
        ("明天", "今天", False),
        ("Paris is big", "Paris was", True),
        ("The", "There", False),
        ("", "今", False),
    ],
)
def test_how_an_answer_begins(answer: str, expected: str, alike: bool) -> None:
    assert (_beginning(answer) == _beginning(expected)) == alike


def test_one_question_of_a_hundred_may_be_cut_or_known() -> None:
    assert whole_contexts(2, 200, 512).passed
    cut = whole_contexts(3, 200, 512)
    assert not cut.passed
    assert cut.detail == "3 of 200 requests were cut to the window of 512 tokens"
    assert apart_from_calibration(0, 0).passed
    shared = apart_from_calibration(3, 200)
    assert not shared.passed
    assert shared.detail == "3 of 200 requests hold 13 tokens in a row of the calibration text"


def test_a_checkpoint_on_its_sources_grid_is_not_believed(tmp_path: Path) -> None:
    source = write_gridded_model(tmp_path / "source", levels=16, block=32)
    baseline = apart_from_source_grid(source, source, "safetensors", Scheme("float16", "float16"))
    same = apart_from_source_grid(source, source, "mlx", Scheme("int4", "float16", 32, symmetric=False))
    other = apart_from_source_grid(source, source, "mlx", Scheme("int4", "float16", 64))
    assert baseline.passed
    assert other.passed
    assert not same.passed
    assert baseline.detail.startswith("the source's weights lie on a grid of 4 bits in blocks of 32: other roundings")
    assert same.detail.startswith("shares its source's grid: the source's weights lie on a grid of 4 bits in blocks")


def test_where_the_source_has_no_grid_no_checkpoint_shares_it(tmp_path: Path) -> None:
    source = write_gridded_model(tmp_path / "source", levels=2**16, block=32)
    gate = apart_from_source_grid(source, source, "mlx", Scheme("int4", "float16", 32))
    assert gate.passed
    assert gate.detail == "the source's weights are not seen to lie on a grid"
