"""How our server ends when the thread that owns the model fails."""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

from engines.types import THREAD_ENDED


def end_process(error: BaseException) -> NoReturn:
    """Print the traceback, then end the server: its model's thread is gone, and no request would be answered.

    `os._exit` runs no handler and flushes nothing, so both are done here. The last line is one that
    `evals.schema.failures` knows.
    """
    traceback.print_exception(error, file=sys.stderr)
    print(f"{THREAD_ENDED}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(1)
