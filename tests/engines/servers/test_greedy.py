"""Greedy is greedy in every engine, whatever sampling defaults a model's files bring along."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.registry import engines_by_name
from engines.types import Device, Endpoint, Serving
from evals.api.formats import completion_body

AVX512 = Device("cpu", "new", frozenset({"avx2", "avx512f"}), 1)
H100 = Device("cuda", "H100", frozenset({"sm90"}), 1)


@pytest.mark.parametrize(
    ("name", "words"), [("vllm", "--generation-config vllm"), ("sglang", "--sampling-defaults openai")]
)
@pytest.mark.parametrize("device", [AVX512, H100])
def test_no_sampling_default_of_the_models_file_is_used(name: str, words: str, device: Device, tmp_path: Path) -> None:
    """`repetition_penalty` of a `generation_config.json` would change greedy answers, here and not in Transformers."""
    target = engines_by_name()[name]
    assert words in " ".join(
        target.launch(
            Serving(tmp_path, device, 2, 64), **{option.name: option.default for option in target.options}
        ).command
    )


@pytest.mark.parametrize("name", ["vllm", "sglang"])
def test_completions_ask_for_no_penalty(name: str) -> None:
    """A server that others started may use the model's file: the request says otherwise."""
    endpoint = Endpoint("http://x", "k", None, Path("log"), engines_by_name()[name].dialect, 1.0, {})
    body = completion_body(endpoint, [1, 2], 3, ignore_eos=False, stream=True)
    assert (body["temperature"], body["repetition_penalty"]) == (0, 1.0)
