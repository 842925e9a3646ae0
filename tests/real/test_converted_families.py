"""Which architectures become GGUF files: what `plan` says beforehand is what the pinned converter reads."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from engines.runtime.environments import build, resolve
from engines.runtime.own_packages import ROOT
from quant.checkpoints.tool_limits import CONVERTED, NOT_YET_CONVERTED

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


def test_keys_that_transformers_no_longer_writes_are_put_back(results: dict[str, Any]) -> None:
    files = results["files"]
    assert files["GPT2LMHeadModel"]["gpt2.context_length"] == 256
    assert files["GPTNeoXForCausalLM"]["gptneox.rope.dimension_count"] == 4  # a quarter of 16
    assert files["Cohere2ForCausalLM"]["cohere2.rope.dimension_count"] == 16
    assert files["FalconForCausalLM"]["falcon.attention.head_count_kv"] == 1
