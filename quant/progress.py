"""The channel on which a child process tells its parent how far it is.

Tools print bars and logs to stdout and stderr, so progress has a file descriptor of its own, named in the
environment variable BITFRONTIER_PROGRESS_FD. Each line is one JSON object `{"stage", "done", "total"}`.
"""

from __future__ import annotations

import json
import os

VARIABLE = "BITFRONTIER_PROGRESS_FD"


def report(stage: str, done: float, total: float) -> None:
    """Tell the parent that `done` of `total` of `stage` is finished. Does nothing without a parent that listens."""
    descriptor = os.environ.get(VARIABLE)
    if descriptor is None:
        return
    line = json.dumps({"stage": stage, "done": done, "total": total}) + "\n"
    try:
        os.write(int(descriptor), line.encode())
    except OSError:  # the parent is gone or closed its end: there is nobody left to tell
        os.environ.pop(VARIABLE, None)
