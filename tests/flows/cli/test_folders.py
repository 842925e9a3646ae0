"""Folders that cannot be written end a command in a line, before any work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("cache", "arguments", "shown"),
    [
        ("/proc/no", ("plan", "configs/quickstart.yaml"), "error: /proc/no cannot be written: "),
        ("/proc/no", ("sweep", "configs/quickstart.yaml"), "error: /proc/no cannot be written: "),
        ("/proc/no", ("quantize", "configs/quickstart.yaml", "none float16"), "error: /proc/no cannot be written: "),
        (None, ("sweep", "configs/quickstart.yaml", "--runs", "/proc/runs"), "error: /proc/runs cannot be written: "),
    ],
)
def test_it_is_one_line(tmp_path: Path, cache: str | None, arguments: tuple[str, ...], shown: str) -> None:
    variables = {**os.environ, "BITFRONTIER_CACHE": cache or str(tmp_path / "cache")}
    command = [sys.executable, "-m", "flows.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=variables)
    assert done.returncode == 2
    assert done.stderr.startswith(shown)
    assert len(done.stderr.splitlines()) == 1
