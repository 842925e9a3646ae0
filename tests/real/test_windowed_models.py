"""Models whose attention has a window or chunks, tiny and random, in our server against plain Transformers."""

from __future__ import annotations

import json
import subprocess

import pytest

from engines.runtime.environments import build, resolve
from engines.runtime.own_packages import ROOT
from quant.checkpoints.shape import UNSAID_WINDOWS, WINDOW_IF_SAID

pytestmark = pytest.mark.real
ASK_DEFAULTS = """
import json
from transformers import AutoConfig
kinds = "mistral mixtral phi3 qwen2 qwen2_moe qwen3 qwen3_moe smollm3 starcoder2".split()
given = {kind: AutoConfig.for_model(kind).to_dict() for kind in kinds}
print(json.dumps({kind: [one.get("sliding_window"), one.get("use_sliding_window")] for kind, one in given.items()}))
"""
TOLERANCE = 1e-3  # nats, as in the gate of engines that compute in float32


def test_a_shared_beginning_and_batches_change_nothing_where_attention_has_a_window() -> None:
    """Left padding between the beginning and the rest cost 0.3 to 12 nats here: it took a part of the window."""
    environment = resolve("transformers")
    build(environment)
    done = subprocess.run(
        environment.argv(["-m", "tests.real.programs.windowed_models"], {}),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    assert {"Llama", "Mistral", "Gemma 3"} <= set(results)
    wrong = {name: result for name, result in results.items() if result["nats"] > TOLERANCE}
    assert not wrong
    assert all(result["generates_alike"] for result in results.values())


def test_a_window_that_a_configuration_does_not_name_is_that_of_transformers_class() -> None:
    """Of the kinds that llama.cpp computes without a window, and of those that have the switch."""
    environment = resolve("transformers")
    build(environment)
    done = subprocess.run(environment.argv(["-c", ASK_DEFAULTS], {}), capture_output=True, text=True, check=True)
    defaults = json.loads(done.stdout.splitlines()[-1])
    switched = {kind: used for kind, (_, used) in defaults.items() if used is not None}
    assert set(switched) == set(WINDOW_IF_SAID)
    assert not any(switched.values())
    windows = {kind: window for kind, (window, _) in defaults.items() if window and kind not in switched}
    assert windows == UNSAID_WINDOWS
