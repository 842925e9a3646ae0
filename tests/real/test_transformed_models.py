"""Tiny models in llm-compressor: a transform before rounding must change weights and not what the model computes, and
what is saved is what was cast.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from engines.runtime.environments import build, resolve
from engines.runtime.own_packages import ROOT

pytestmark = pytest.mark.real


def _results(program: str) -> dict[str, Any]:
    environment = resolve("llmcompressor")
    build(environment)
    done = subprocess.run(
        environment.argv(["-m", f"tests.real.programs.{program}"], {}),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=600,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("results ")]
    return dict(json.loads(line.removeprefix("results ")))


@pytest.fixture(scope="module")
def results() -> dict[str, dict[str, str | None]]:
    return _results("transformed_models")


def test_what_a_gpu_holds_is_cast_before_it_is_saved() -> None:
    types = _results("dispatched_weights")
    assert {name.rpartition(".")[2]: dtype for name, dtype in types.items() if "q_proj" in name} == {
        "weight": "I8",
        "weight_scale": "F16",
    }
    assert set(types.values()) == {"I8", "F16"}


def test_a_transform_that_cancels_out_passes(results: dict[str, dict[str, str | None]]) -> None:
    assert results["Llama"] == {"smoothquant": None, "awq": None}
    assert results["Gemma 3"]["awq"] is None


def test_a_wrong_mapping_fails_with_the_architecture(results: dict[str, dict[str, str | None]]) -> None:
    """Gemma's `post_attention_layernorm` stands after attention, not before the MLP."""
    assert "does not preserve Gemma3ForCausalLM" in str(results["Gemma 3"]["smoothquant"])


def test_no_mapping_fails_with_the_architecture(results: dict[str, dict[str, str | None]]) -> None:
    for reason in results["GPT-NeoX"].values():
        assert "has no mapping for GPTNeoXForCausalLM" in str(reason)
    assert "SmoothQuantModifier changed no weight of Mamba2ForCausalLM" in str(results["Mamba 2"]["smoothquant"])


def test_experts_that_no_calibration_token_reaches_are_counted() -> None:
    by_model = _results("expert_coverage")
    for name in ("Mixtral", "Qwen2Moe", "Qwen3Moe", "Olmoe", "GptOss"):
        idle, experts, expected, words = by_model[name]
        assert (idle, experts) == (expected, 64), name
        assert 0 < idle < experts, name
        assert words == [
            f"calibration: {idle} of 64 experts get none of the 7 tokens; use more samples (`calibration.samples`)"
        ]
    assert by_model["Llama"][:2] == [0, 0]
    assert by_model["DeepseekV3"][3] == []  # its class gives no router logits
