"""Text in the terminal's encoding."""

from __future__ import annotations

import io
import sys


def write_what_the_terminal_takes() -> None:
    """Characters that the terminal's encoding lacks are shown as question marks, and end nothing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
