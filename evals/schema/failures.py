"""A cell's failure as its row has it: the one boundary where an exception becomes data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx

from engines.redaction import excerpt, redacted
from engines.runtime.process import tail
from evals.schema.trial import Failure
from quant.errors import CellFailure, FailureKind, one_line, remedy_of
from quant.foreign_failures import kind_of

CAUSE_LENGTH = 300


def failure_of(error: BaseException, *, otherwise: FailureKind = "other", log: Path | None = None) -> Failure:
    """What an exception means for a cell, without keys; `otherwise` is its kind where nothing is known of it.

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
    log_tail = log_tail or (tail(log) if log and log.exists() else "")
    return Failure(kind, excerpt(one_line(error), CAUSE_LENGTH), remedy_of(kind), redacted(log_tail))


def because(consequence: str, failure: Failure) -> Failure:
    """The failure of something that this one caused: of the same kind, with `consequence` before the cause."""
    return replace(failure, cause=f"{consequence}: {failure.cause}"[:CAUSE_LENGTH])
