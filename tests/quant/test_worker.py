"""The worker process itself, with a method of this test and no tool."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from quant.progress import VARIABLE, report
from quant.worker import probe

ROOT = Path(__file__).resolve().parents[2]
METHOD = '''
from pathlib import Path
from quant.registry import method
from quant.progress import report

@method("copy", format="safetensors", environment="transformers")
def copy(model: Path, out: Path, *, fail: bool = False, leave: str = "", version: str = "") -> None:
    """Copies."""
    if version:
        import packaging.version

        packaging.version.Version(version)
    report("half", 1, 2)
    print("noise on stdout")
    if fail:
        raise RuntimeError("no luck today")
    assert leave != "silently"
    if leave:
        raise SystemExit(int(leave) if leave.isdigit() else leave)
    (out / "copied").write_bytes((model / "model.safetensors").read_bytes())
'''


def _run(tmp_path: Path, **parameters: Any) -> tuple[subprocess.CompletedProcess[str], dict[str, Any], list[Any]]:
    (tmp_path / "copying.py").write_text(METHOD)
    (tmp_path / "model").mkdir(exist_ok=True)
    (tmp_path / "model" / "model.safetensors").write_text("w")
    (tmp_path / "out").mkdir()
    job = {
        "model": str(tmp_path / "model"),
        "out": str(tmp_path / "out"),
        "method": "copy",
        "module": "copying",
        "file": str(tmp_path / "copying.py"),
        "parameters": parameters,
        "takes_calibration": False,
        "calibration": None,
        "threads": 1,
        "seed": 0,
        "versions_of": ["pytest", "no-such-package"],
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    reading, writing = os.pipe()
    done = subprocess.run(
        [sys.executable, "-m", "quant.worker", str(tmp_path / "job.json")],
        capture_output=True,
        text=True,
        check=False,
        pass_fds=[writing],
        env={**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: str(writing)},
    )
    os.close(writing)
    with os.fdopen(reading) as lines:
        progress = [json.loads(line) for line in lines]
    return done, json.loads((tmp_path / "result.json").read_text()), progress


def test_a_method_that_works(tmp_path: Path) -> None:
    done, result, progress = _run(tmp_path, fail=False)
    assert done.returncode == 0
    assert (tmp_path / "out" / "copied").read_text() == "w"
    assert result["status"] == "ok"
    assert set(result["versions"]) == {"pytest"}
    assert result["peak_memory_bytes"] > 1_000_000
    assert [event["stage"] for event in progress] == ["quantize", "half", "quantize"]


def test_a_method_that_raises_says_why(tmp_path: Path) -> None:
    done, result, _ = _run(tmp_path, fail=True)
    assert done.returncode == 1
    assert result["status"] == "failed"
    assert (result["reason"], result["kind"]) == ("RuntimeError: no luck today", None)
    assert "no luck today" in done.stderr


@pytest.mark.parametrize(
    ("leave", "reason"),
    [
        ("no rope_theta in config.json", "SystemExit: no rope_theta in config.json"),
        ("3", "the tool ended itself with exit code 3"),
    ],
)
def test_a_tool_that_ends_the_process_says_why(tmp_path: Path, leave: str, reason: str) -> None:
    done, result, _ = _run(tmp_path, leave=leave)
    assert (done.returncode, result["status"], result["reason"]) == (1, "failed", reason)
    assert result["log_explains"] == leave.isdigit()
    assert ("Traceback" in done.stderr) != leave.isdigit()  # the log's last line is then the tool's own


def test_an_assertion_without_words_shows_its_line(tmp_path: Path) -> None:
    _, result, _ = _run(tmp_path, leave="silently")
    assert re.fullmatch(r'AssertionError at .*copying\.py:\d+: `assert leave != "silently"`', result["reason"])


@pytest.mark.parametrize(
    ("config", "named"), [('{"architectures": ["GPTJForCausalLM"]}', "GPTJForCausalLM, "), ('{"text_config": 3}', "")]
)
def test_a_tools_failure_names_architecture_package_and_place(tmp_path: Path, config: str, named: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(config)
    _, result, _ = _run(tmp_path, version="none")
    place = rf"\({named}packaging [\d.]+, packaging/version\.py:\d+\)"
    assert re.fullmatch(rf"InvalidVersion: Invalid version: 'none' {place}", result["reason"])


def test_probe_tells_packages() -> None:
    assert "pytest" in probe()["packages"]


def test_progress_without_a_parent_is_silent() -> None:
    os.environ.pop(VARIABLE, None)
    assert report("x", 1, 2) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize("module", ["quant.worker", "engines.types"])
def test_what_every_environment_imports_needs_the_standard_library_alone(module: str) -> None:
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {module}"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
