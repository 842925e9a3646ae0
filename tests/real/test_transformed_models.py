"""A transform before rounding must change weights and not what the model computes: tiny models in llm-compressor."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from engines.runtime.environments import build, resolve
from engines.runtime.own_packages import ROOT

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def results() -> dict[str, dict[str, str | None]]:
    environment = resolve("llmcompressor")
    build(environment)
    done = subprocess.run(
        environment.argv(["-m", "tests.real.programs.transformed_models"], {}),
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
