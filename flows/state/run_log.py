"""Where our packages' log records go: the console, as far as `-v` asks, and runs/NAME/logs/bitfrontier.log.

No key gets into either: what looks like one is replaced before a line is written.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from engines.redaction import redacted
from engines.runtime.own_packages import PACKAGES
from quant.canonical_json import open_to_append
from quant.errors import without_controls

RUN_LOG = "logs/bitfrontier.log"
LINE = "%(asctime)s %(levelname)s %(name)s [%(process)d]: %(message)s"


class WithoutKeys(logging.Formatter):
    """A line whose credentials are hidden, of messages and tracebacks alike; texts of others move no cursor."""

    def format(self, record: logging.LogRecord) -> str:
        return without_controls(redacted(super().format(record)))


class RunLog(logging.FileHandler):
    """A run's log. A disk that is full ends neither the run nor fills the console: that is said in one line."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, encoding="utf-8")
        self.setFormatter(WithoutKeys(LINE))
        self._given_up = False

    def _open(self) -> io.TextIOWrapper:  # by which logging opens it: never through a link
        return io.TextIOWrapper(open_to_append(Path(self.baseFilename)), encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._given_up:
            self._given_up = True
            _say_unwritable(Path(self.baseFilename), error)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what is still in its buffer
            super().close()


def _say_unwritable(file: Path, error: OSError) -> None:
    print(f"{file} cannot be written ({error.strerror}); the run continues without it", file=sys.stderr)


def guard_warnings() -> None:
    """Without `-v` nothing takes records, and Python itself prints warnings: without keys and controls, too."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(WithoutKeys("%(message)s"))


def log_to_console(verbosity: int) -> None:
    """Records on stderr: warnings, with `-v` what is done, with `-vv` all."""
    handler = logging.StreamHandler()
    handler.setFormatter(WithoutKeys("%(levelname)s %(name)s: %(message)s"))
    handler.setLevel([logging.WARNING, logging.INFO, logging.DEBUG][min(verbosity, 2)])
    for logger in _loggers():
        logger.addHandler(handler)
        logger.setLevel(handler.level)
        logger.propagate = False  # Prefect gives the root logger a console of its own


@contextlib.contextmanager
def logged(run: Path) -> Iterator[None]:
    """All records of the block, in the run's log; a run that goes on appends to it, as do its processes."""
    file = run / RUN_LOG
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler: logging.Handler = RunLog(file)
    except OSError as error:
        _say_unwritable(file, error)
        handler = logging.NullHandler()
    before = [(logger, logger.level, logger.propagate) for logger in _loggers()]
    for logger, _, _ in before:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, level, propagate in before:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
        handler.close()


def _loggers() -> list[logging.Logger]:
    return [logging.getLogger(name) for name in PACKAGES]
