"""Which architectures OpenVINO's format is made of: what `plan` says beforehand is what the pinned exporter says."""

from __future__ import annotations

import json
import subprocess

import pytest

from engines.runtime.environments import build, resolve
from engines.runtime.own_packages import ROOT
from quant.checkpoints.tool_limits import EXPORTED, exporter_refuses
from quant.types import Architecture

pytestmark = pytest.mark.real


def test_plan_knows_what_the_exporter_takes() -> None:
    environment = resolve("openvino")
    build(environment)
    done = subprocess.run(
        environment.argv(["-m", "tests.real.programs.exported_families"], {}),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("results ")]
    results = json.loads(line.removeprefix("results "))
    assert set(results["exported"]) == EXPORTED
    reason = str(exporter_refuses(Architecture("AnyForCausalLM")))
    assert f"optimum-intel {results['versions']['optimum-intel']} " in reason
    assert f"Transformers {results['versions']['transformers']}." in reason
