"""Models whose attention has a window or chunks, tiny and random, in our server against plain Transformers."""

from __future__ import annotations

import json
import subprocess

import pytest

from engines.runtime.environments import build, resolve
from engines.runtime.own_packages import ROOT

pytestmark = pytest.mark.real
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
