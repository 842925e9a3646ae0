"""The logs of child processes, passed on line by line while they are written."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from engines.redaction import excerpt
from quant.canonical_json import open_regular

LINES_PER_SECOND = 20
LONGEST_LINE = 1000
KEPT_BYTES = 65536  # of a line, from its end: a progress bar that writes over itself may be one of megabytes
POLL_SECONDS = 0.5
Say = Callable[[str], None]


class Tail:
    """What is written to `log` from now on, even if the file is replaced. Its last complete lines that are not
    empty, and how many more there were; a progress bar that writes over itself is one line, as it was last seen.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self._file: BinaryIO | None = None
        self._rest = b""
        self._open()
        if self._file:
            self._file.seek(0, os.SEEK_END)

    def read(self, most: int) -> tuple[list[str], int]:
        """The last `most` lines that are new, and how many were before them."""
        lines: deque[bytes] = deque(maxlen=most)
        count = self._collect(lines)
        if self._replaced():
            self.close()
            self._open()
            count += self._collect(lines)
        texts = [excerpt(line.rsplit(b"\r", 1)[-1].decode("utf-8", "replace"), LONGEST_LINE) for line in lines]
        return texts, count - len(lines)

    def close(self) -> None:
        if self._file:
            self._file.close()
        self._file = None

    def _open(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._file, self._rest = open_regular(self.log, sys.maxsize), b""

    def _collect(self, lines: deque[bytes]) -> int:
        count = 0
        while self._file and (part := self._file.readline(KEPT_BYTES)):
            self._rest = (self._rest + part)[-KEPT_BYTES:]
            if part.endswith(b"\n"):
                if last := self._rest.strip():
                    lines.append(last)
                    count += 1
                self._rest = b""
        return count

    def _replaced(self) -> bool:
        """Whether another file has the log's name. While ours is open nothing else gets its number."""
        try:
            return self._file is None or self.log.stat().st_ino != os.fstat(self._file.fileno()).st_ino
        except FileNotFoundError:
            return False


@contextlib.contextmanager
def following(logs: tuple[Path, ...], say: Say, quiet: threading.Event) -> Iterator[None]:
    """Pass on what `logs` get, at most LINES_PER_SECOND of each; what is left out is counted.

    While `quiet` is set nothing is passed on: then the cores belong to what is being timed.
    """
    tails, ended = [Tail(log) for log in logs], threading.Event()

    def run() -> None:
        while not ended.wait(POLL_SECONDS):
            if not quiet.is_set():
                _pass_on(tails, say)

    thread = threading.Thread(target=run, name="following logs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        _pass_on(tails, say)
        for tail in tails:
            tail.close()


def _pass_on(tails: list[Tail], say: Say) -> None:
    for tail in tails:
        lines, left_out = tail.read(int(LINES_PER_SECOND * POLL_SECONDS))
        if left_out:
            say(f"… left out here: {left_out} (all lines are in {tail.log})")
        for line in lines:
            say(line)
