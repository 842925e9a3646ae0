from __future__ import annotations

from pathlib import Path

import pytest

from evals.schema.failures import KNOWN, explain

LOG = "; the end of /somewhere/log:\n"


@pytest.mark.parametrize(
    ("reason", "kind", "cause", "remedy"),
    [
        ("OSError: [Errno 28] No space left on device", "full disk", "No space left", "free space"),
        ("OperationalError: database or disk is full", "full disk", "disk is full", "free space"),
        (
            f"the worker ended with exit code 1{LOG}OSError: [Errno 28] No space left on device",
            "full disk",
            "exit code 1: OSError: ",
            "free space",
        ),
        ("quantization failed: ProcessFailed: MemoryError: ", "out of memory", "MemoryError", "fewer or shorter"),
        (
            f"the server ended with exit code 1 before it was ready{LOG}x\ntorch.OutOfMemoryError: CUDA out of memory.",
            "out of memory",
            "before it was ready: torch.OutOfMemoryError",
            "KV cache",
        ),
        (
            "the server ended with signal SIGKILL, by the kernel for want of memory while it was used (x)",
            "out of memory",
            "by the kernel",
            "KV cache",
        ),
        (
            "environment 'gguf' could not be built: uv pip failed:\nno network",
            "missing environment",
            "'gguf'",
            "the next sweep builds it",
        ),
        (
            f"the server ended with exit code 1 before it was ready{LOG}ModuleNotFoundError: No module named 'vllm'",
            "broken environment",
            "No module named 'vllm'",
            "delete the environment's folder",
        ),
        (
            f"the server ended with exit code 1 before it was ready{LOG}OSError: [Errno 98] Address already in use",
            "port taken",
            "Errno 98",
            "takes ports",
        ),
        (
            "CheckpointError: /x/model.safetensors: was written, and is gone",
            "unreadable checkpoint",
            "is gone",
            "made again",
        ),
        (
            "quantization failed: ProcessFailed: the worker ended with signal SIGKILL",
            "worker lost",
            "SIGKILL",
            "who ended it",
        ),
        ("quantization failed: ProcessFailed: the worker was not done after 5 s", "hang", "5 s", "quantize_seconds"),
        ("the server ended with exit code 9 while it was used (x)", "crash in mid-stream", "exit code 9", "log"),
        ("the server ended with exit code 7 before it was ready", "crash at start", "exit code 7", "what it lacks"),
        ("the server was not ready after 600 s", "hang", "600 s", "ready_seconds"),
        ("a request at concurrency 1 failed: no answer for 600 s", "hang", "600 s", "request_seconds"),
        ("/score gave no answer for 3600 s", "hang", "3600 s", "scoring_seconds"),
        ("the server counted 5 prompt and 3 output tokens where", "wrong token counts", "5 prompt", "another version"),
        ("gate 'golden prompt' failed: differ by at most inf nats", "garbage output", "inf nats", "does not compute"),
        ("/score answered with what is not JSON: '<html>'", "garbage output", "<html>", "does not compute"),
        ("quantization failed: ProcessFailed: RuntimeError: no luck", "method failed", "no luck", "its parameters"),
        ("ZeroDivisionError: division by zero", "other", "division by zero", "the traceback"),
        (
            "the baseline failed in this engine, so nothing can be compared: environment 'x' could not be built: y",
            "missing environment",
            "the baseline failed",
            "the next sweep builds it",
        ),
    ],
)
def test_words_tell_kind_cause_and_remedy(reason: str, kind: str, cause: str, remedy: str) -> None:
    failure = explain(reason)
    assert failure.kind == kind
    assert cause in failure.cause
    assert "\n" not in failure.cause
    assert remedy in failure.remedy
    assert failure.log_tail == reason.partition(LOG)[2]


def test_a_log_is_shown_but_not_searched_where_the_words_bring_none(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a warning: CUDA out of memory, tried less\n")
    failure = explain("the server counted 5", tmp_path / "log")
    assert (failure.kind, failure.log_tail) == ("wrong token counts", "a warning: CUDA out of memory, tried less")


def test_no_words_at_all() -> None:
    assert (explain("").kind, explain("").cause) == ("other", "")


@pytest.mark.parametrize("known", KNOWN, ids=lambda failure: failure.kind)
def test_every_remedy_is_a_line(known: object) -> None:
    assert known.remedy.strip()  # type: ignore[attr-defined]
    assert "\n" not in known.remedy  # type: ignore[attr-defined]
