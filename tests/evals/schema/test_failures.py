from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import get_args

import httpx
import pytest

from engines.runtime.environments import EnvironmentFailed
from engines.runtime.process import ProcessFailed
from engines.types import ServerFailed
from evals.accuracy.gates import GateFailed
from evals.data.local_root import DataError
from evals.schema.failures import CAUSE_LENGTH, because, failure_of
from evals.schema.migrate import OLD_KINDS
from quant.checkpoints.safetensors import CheckpointError
from quant.errors import REMEDIES, CellFailure, FailureKind

KINDS = get_args(FailureKind)
PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "failures.md"


@pytest.mark.parametrize(
    ("error", "kind", "cause"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "full-disk", "OSError: [Errno 28] No space left on device"),
        (MemoryError(), "out-of-memory", "MemoryError"),
        (ModuleNotFoundError("No module named 'vllm'"), "broken-environment", "ModuleNotFoundError: No module named"),
        (CheckpointError("a.safetensors: it was cut off"), "unreadable-checkpoint", "a.safetensors: it was cut off"),
        (EnvironmentFailed("uv pip failed"), "missing-environment", "uv pip failed"),
        (GateFailed("gate 'sanity' failed"), "garbage-output", "gate 'sanity' failed"),
        (DataError("no folder"), "unusable-data", "no folder"),
        (ServerFailed("x", kind="timeout"), "timeout", "x"),
        (ProcessFailed("x", kind="crash-in-use"), "crash-in-use", "x"),
        (httpx.ReadTimeout("late"), "timeout", "ReadTimeout: late"),
        (httpx.RemoteProtocolError("gone"), "request-failed", "RemoteProtocolError: gone"),
        (ZeroDivisionError("division by zero"), "other", "ZeroDivisionError: division by zero"),
        (ValueError("one:\n  two"), "other", "ValueError: one: two"),
    ],
)
def test_what_an_error_means_for_a_cell(error: Exception, kind: FailureKind, cause: str) -> None:
    failure = failure_of(error)
    assert failure.kind == kind
    assert failure.cause.startswith(cause)
    assert "\n" not in failure.cause
    assert failure.remedy == REMEDIES[kind]
    assert failure.log_tail == ""


def test_the_cause_is_short() -> None:
    assert len(failure_of(ValueError("x" * 1000)).cause) == CAUSE_LENGTH


def test_nothing_known() -> None:
    assert failure_of(ValueError(), otherwise="method-failed").kind == "method-failed"
    assert failure_of(OSError(errno.ENOSPC, "full"), otherwise="method-failed").kind == "full-disk"


def test_what_raised_an_error_counts() -> None:
    error = RuntimeError("the layer failed")
    error.__cause__ = MemoryError()
    assert failure_of(error).kind == "out-of-memory"


def test_a_log_is_shown_but_not_searched_where_the_error_brings_none(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a warning: CUDA out of memory, tried less\n")
    failure = failure_of(CellFailure("the server counted 5", kind="wrong-token-counts"), log=tmp_path / "log")
    assert (failure.kind, failure.log_tail) == ("wrong-token-counts", "a warning: CUDA out of memory, tried less")
    assert failure_of(CellFailure("x", log_tail="own"), log=tmp_path / "log").log_tail == "own"
    assert failure_of(CellFailure("x"), log=tmp_path / "none").log_tail == ""


def test_what_follows_from_a_failure_has_its_kind() -> None:
    failure = because("quantization failed", failure_of(MemoryError("no room")))
    assert (failure.kind, failure.cause) == ("out-of-memory", "quantization failed: MemoryError: no room")


def test_every_kind_has_a_remedy_and_an_entry_in_the_docs() -> None:
    page = PAGE.read_text()
    entries = dict(re.findall(r"^## (\S+)\n((?:(?!^## ).*\n)+)", page, re.MULTILINE))
    assert tuple(entries) == KINDS
    assert tuple(REMEDIES) == KINDS
    for kind, entry in entries.items():
        assert [part for part in ("**Means:**", "**See:**", "**Do:**") if part not in entry] == [], kind


def test_old_words_for_kinds_lead_to_slugs() -> None:
    assert set(OLD_KINDS.values()) <= set(KINDS)
    assert (OLD_KINDS["hang"], OLD_KINDS["crash at start"]) == ("timeout", "crash-at-start")
