"""A cell's failure as its row has it: the one boundary where an exception becomes data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import httpx

from engines.runtime.process import tail
from evals.schema.trial import Failure
from quant.errors import REMEDIES, CellFailure, FailureKind, one_line
from quant.foreign_failures import kind_of

CAUSE_LENGTH = 300
# what kinds were called in trial files of schema versions 1 and 2
OLD_KINDS: Mapping[str, FailureKind] = {
    "full disk": "full-disk",
    "out of memory": "out-of-memory",
    "missing environment": "missing-environment",
    "broken environment": "broken-environment",
    "port taken": "port-taken",
    "unreadable checkpoint": "unreadable-checkpoint",
    "worker lost": "worker-lost",
    "hang": "timeout",
    "crash of our server": "reference-server-crash",
    "crash in mid-stream": "crash-in-use",
    "crash at start": "crash-at-start",
    "wrong token counts": "wrong-token-counts",
    "garbage output": "garbage-output",
    "method failed": "method-failed",
    "other": "other",
}


def failure_of(error: BaseException, *, otherwise: FailureKind = "other", log: Path | None = None) -> Failure:
    """What an exception means for a cell; `otherwise` is its kind where nothing is known of it.

    The end of `log` is shown, where there is one, if the exception brings no log of its own; it is not searched: the
    failure need not be in it.
    """
    kind: FailureKind
    if isinstance(error, httpx.TimeoutException):
        kind = "timeout"
    elif isinstance(error, httpx.HTTPError):
        kind = "request-failed"
    else:
        kind = kind_of(error) or otherwise
    log_tail = error.log_tail if isinstance(error, CellFailure) else ""
    return Failure(
        kind, one_line(error)[:CAUSE_LENGTH], REMEDIES[kind], log_tail or (tail(log) if log and log.exists() else "")
    )


def because(consequence: str, failure: Failure) -> Failure:
    """The failure of something that this one caused: of the same kind, with `consequence` before the cause."""
    return replace(failure, cause=f"{consequence}: {failure.cause}"[:CAUSE_LENGTH])
