"""TGI's dialect against responses of the real TGI and its OpenAPI document, where they lie beside the checkout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engines.registry import engines_by_name
from engines.types import Endpoint
from evals.api.formats import completion_body, read_event
from evals.api.post import ScoringFailed
from evals.scoring.tgi_prefill import prompt_logprobs
from evals.scoring.types import Pair

RECORDED = Path(__file__).resolve().parents[4] / "shared" / "recorded" / "tgi"
pytestmark = pytest.mark.skipif(not RECORDED.exists(), reason="no recorded responses of TGI beside the checkout")
DIALECT = engines_by_name()["tgi"].dialect


def _recorded(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    definitions: dict[str, Any] = _recorded("openapi")["components"]["schemas"]
    return definitions


def test_we_send_what_it_knows(schemas: dict[str, Any], tiny_model: Path) -> None:
    endpoint = Endpoint("http://x", "", None, Path("log"), DIALECT, 0.0, {}, tokenizer=tiny_model)
    body = completion_body(endpoint, [2, 5], 4, ignore_eos=True, stream=True)
    assert set(body) <= set(schemas["GenerateRequest"]["properties"])
    parameters = {*body["parameters"], "decoder_input_details"}
    assert parameters <= set(schemas["GenerateParameters"]["properties"])


def test_we_read_what_it_sends(schemas: dict[str, Any]) -> None:
    assert {"index", "token", "details", "generated_text"} <= set(schemas["StreamResponse"]["properties"])
    assert {"generated_tokens", "input_length"} <= set(schemas["StreamDetails"]["properties"])
    token = {"id": 363, "logprob": -1.5351562, "special": False, "text": " for"}
    piece = read_event(DIALECT, {"index": 3, "token": token, "top_tokens": [], "generated_text": None, "details": None})
    assert (piece.text, piece.so_far, piece.last) == (" for", 3, False)


def test_log_probabilities_of_a_prompt_are_read() -> None:
    details = _recorded("test_bloom_560m__test_bloom_560m")["details"]
    ids = [entry["id"] for entry in details["prefill"]]
    assert len(ids) > 3
    pair = Pair(tuple(ids[:2]), tuple(ids[2:]))
    assert prompt_logprobs(pair, details) == tuple(entry["logprob"] for entry in details["prefill"][2:])
    with pytest.raises(ScoringFailed, match="made other tokens of the prompt's text"):
        prompt_logprobs(Pair((1,), (2,)), details)


def test_an_empty_prefill_names_the_launchers_flag() -> None:
    details = _recorded("test_flash_llama__test_flash_llama_simple")["details"]
    with pytest.raises(ScoringFailed, match="its launcher needs --enable-prefill-logprobs"):
        prompt_logprobs(Pair((1,), (2,)), details)
