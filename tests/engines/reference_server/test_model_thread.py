"""Our server's process, when the thread of its model fails."""

from __future__ import annotations

import subprocess
import sys

from engines.runtime.own_packages import ROOT
from engines.types import THREAD_ENDED
from evals.schema.failures import explain

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


def test_the_traceback_is_in_the_log_and_the_row_does_not_blame_the_load() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "in run" in done.stderr
    assert done.stderr.splitlines()[-1] == f"{THREAD_ENDED}: IndexError: layer 3 has no cache"
    reason = f"the server ended with exit code 1 while it was used (x); the end of /x/log:\n{done.stderr}"
    failure = explain(reason)
    assert failure.kind == "crash of our server"
    assert "IndexError: layer 3 has no cache" in failure.cause
    assert "concurrency" not in failure.remedy
