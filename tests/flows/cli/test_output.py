from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("variables", "arguments", "code"),
    [
        ({"PYTHONIOENCODING": "latin-1"}, ("plan", "configs/quickstart.yaml"), 0),
        ({"PYTHONIOENCODING": "ascii"}, ("methods",), 0),
        ({"LC_ALL": "C"}, ("methods",), 0),
        ({"PYTHONIOENCODING": "ascii"}, ("sweep", "→.yaml"), 2),
    ],
)
def test_a_terminal_that_is_not_utf_8_ends_nothing(
    variables: dict[str, str], arguments: tuple[str, ...], code: int
) -> None:
    command, environment = [sys.executable, "-m", "flows.cli", *arguments], {**os.environ, **variables}
    done = subprocess.run(command, capture_output=True, cwd=ROOT, env=environment)
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stderr if code else done.stdout
