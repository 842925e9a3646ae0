"""The thread that owns the model, and how our server ends when it fails."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import NoReturn

from engines.types import CRASH_PREFIX
from quant.errors import one_line


def start_model_thread(turn: Callable[[], None], on_crash: Callable[[BaseException], None]) -> None:
    """Call `turn` for ever in a thread of its own; what it raises goes to `on_crash` first."""

    def run() -> None:
        try:
            while True:
                turn()
        except BaseException as error:  # whatever ends this thread, nobody would answer a request any more
            on_crash(error)
            raise

    threading.Thread(target=run, daemon=True, name="model").start()


def end_process(error: BaseException) -> NoReturn:
    """Print the traceback, then end the server: its model's thread is gone, and no request would be answered.

    `os._exit` runs no handler and flushes nothing, so both are done here. The last line is for
    `engines.runtime.process.ProcessFailed`.
    """
    try:
        traceback.print_exception(error, file=sys.stderr)
        print(f"{CRASH_PREFIX}{one_line(error)}", file=sys.stderr, flush=True)
    finally:  # memory may be too short even for that, and a server that hangs is worse
        os._exit(1)
