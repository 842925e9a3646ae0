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
        ("/proc/no", ("quantize", "configs/quickstart.yaml", "gguf Q8_0"), "error: /proc/no cannot be written: "),
        (None, ("init", "pypi:smollm2-135m-instruct", "--to", "/proc/x.yaml"), "error: /proc cannot be written: "),
        (None, ("init", "pypi:smollm2-135m-instruct", "--to", "/proc/x/y.yaml"), "error: /proc/x cannot be written: "),
        (None, ("init", "--to", "/proc/x"), "error: /proc/x cannot be written: "),
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


READ_ONLY = """
import sys
import engines.runtime.cache as cache
from flows.cli import commands

def refused(folder, remedy):
    raise cache.NotWritable(f"{folder} cannot be written: Read-only file system. {remedy}.")

cache.require_writable = refused
commands.main()
"""


def test_a_plan_is_shown_from_a_filled_cache_that_takes_no_files(tmp_path: Path) -> None:
    """It runs nothing, and so needs none; a sweep does."""
    variables = {**os.environ, "BITFRONTIER_CACHE": str(tmp_path)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, env=variables)

    filled = run("-m", "flows.cli", "plan", "configs/quickstart.yaml", "--json")
    assert filled.returncode == 0, filled
    files = sorted(tmp_path.rglob("*"))
    again = run("-c", READ_ONLY, "plan", "configs/quickstart.yaml", "--json")
    assert (again.returncode, again.stdout) == (0, filled.stdout), again
    assert sorted(tmp_path.rglob("*")) == files
    for command in (("sweep", "configs/quickstart.yaml"), ("quantize", "configs/quickstart.yaml", "gguf Q8_0")):
        refused = run("-c", READ_ONLY, *command)
        assert refused.returncode == 2, refused
        assert refused.stderr.startswith(f"error: {tmp_path} cannot be written: Read-only file system. Set BITFRONTIER")
