"""Our server's process, when the thread of its model fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from engines.runtime.own_packages import ROOT
from engines.runtime.process import ProcessFailed
from engines.types import CRASH_PREFIX

PROGRAM = """
import threading
from engines.reference_server.model_thread import end_process

def run():
    try:
        raise IndexError("layer 3 has no cache")
    except IndexError as error:
        end_process(error)

threading.Thread(target=run).start()
threading.Event().wait(30)
"""


def test_the_traceback_is_in_the_log_and_the_row_does_not_blame_the_load(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "in run" in done.stderr
    assert done.stderr.splitlines()[-1] == f"{CRASH_PREFIX}IndexError: layer 3 has no cache"
    (tmp_path / "log").write_text(done.stderr)
    failure = ProcessFailed(
        "the server ended with exit code 1 while it was used", tmp_path / "log", kind="crash-in-use"
    )
    assert failure.kind == "reference-server-crash"
    assert failure.cause.endswith("while it was used: IndexError: layer 3 has no cache")
    assert "Traceback (most recent call last)" in failure.log_tail
    assert "concurrency" not in failure.remedy
