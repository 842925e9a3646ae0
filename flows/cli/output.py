"""Text in the terminal's encoding, without control characters of others; and what nobody foresaw, in one line."""

from __future__ import annotations

import errno
import io
import os
import sys
import tempfile
import traceback
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from engines.redaction import redacted
from quant.errors import one_line, without_controls

UNFORESEEN = "error: unexpected"
# of what stands in a file's place, and of rights: the user's to mend, and no defect
OF_FILES = (
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EMLINK,
)


class SafeConsole(Console):
    """A console on which texts of others (names of cells, reasons, paths) move no cursor and set no title."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of a renderable; its own control codes stay, those in its texts are shown."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(without_controls(segment.text), segment.style)


def write_what_the_terminal_takes() -> None:
    """Characters that the terminal's encoding lacks are shown as question marks, and end nothing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def unforeseen(error: BaseException) -> str:
    """The last net: what nobody foresaw is a defect of ours, said in one line, with the file of its traceback, which
    holds no key.
    """
    where = "its traceback could not be written"
    try:
        descriptor, name = tempfile.mkstemp(prefix="bitfrontier-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(redacted("".join(traceback.format_exception(error))))
        where = f"its traceback is in {name}"
    except OSError:
        pass
    return f"{UNFORESEEN}: {one_line(error)[:500]}; {where}. This is a bug in bitfrontier. Report it with that file"
