"""Which architectures become GGUF files: what `plan` says beforehand is what the pinned converter reads."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from engines.runtime.environments import build, resolve
from engines.runtime.own_packages import ROOT
from engines.servers.llama_cpp import WITHOUT_WINDOW
from quant.checkpoints.tool_limits import CONVERTED, NOT_YET_CONVERTED, SENTENCEPIECE, SENTENCEPIECE_OR_GPT2

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    environment = resolve("gguf")
    build(environment)
    done = subprocess.run(
        environment.argv(["-m", "tests.real.programs.converted_families"], {}),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("results ")]
    return dict(json.loads(line.removeprefix("results ")))


def test_plan_knows_what_the_converter_reads(results: dict[str, Any]) -> None:
    assert set(results["read"]) == CONVERTED
    assert set(results["failed"]) == NOT_YET_CONVERTED
    # MPT falls back to it where its GPT-2 tokenizer is unknown, which ours is not once `convert` has patched that
    assert set(results["sentencepiece"]) - {"MPTForCausalLM"} == SENTENCEPIECE | SENTENCEPIECE_OR_GPT2


def test_plan_knows_whose_window_the_converter_leaves_out(results: dict[str, Any]) -> None:
    windows = {name: any("sliding_window" in key for key in keys) for name, keys in results["files"].items()}
    # Phi-3's tokenizer is not here to convert it with; its file has a window, which llama.cpp says that it leaves out
    assert {name for name in WITHOUT_WINDOW if name != "Phi3ForCausalLM" and windows[name]} == set()
    assert windows["Olmo3ForCausalLM"]


def test_keys_that_transformers_no_longer_writes_are_put_back(results: dict[str, Any]) -> None:
    files = results["files"]
    assert files["GPT2LMHeadModel"]["gpt2.context_length"] == 256
    assert files["GPTNeoXForCausalLM"]["gptneox.rope.dimension_count"] == 4  # a quarter of 16
    assert files["Cohere2ForCausalLM"]["cohere2.rope.dimension_count"] == 16
    assert files["FalconForCausalLM"]["falcon.attention.head_count_kv"] == 1
