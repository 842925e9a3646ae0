from __future__ import annotations

import pytest

from quant.errors import CellFailure, FailureKind
from quant.foreign_failures import decisive_line, kind_in, kind_of

TRACE = """\
loading
Traceback (most recent call last):
  File "a.py", line 1, in <module>
    work()
ValueError: no such layer
"""
CHAINED = f"""\
{TRACE}
During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "b.py", line 2, in main
    raise SystemError("boom")
SystemError: boom
shutting down
"""
VLLM = """\
(EngineCore pid=7) ERROR 11-21 10:00:00 [core.py:84] Traceback (most recent call last):
(EngineCore pid=7) ERROR 11-21 10:00:00 [core.py:84]   File "core.py", line 1, in run
(EngineCore pid=7) ERROR 11-21 10:00:00 [core.py:84]     fit()
(EngineCore pid=7) ERROR 11-21 10:00:00 [core.py:84] ValueError: head size 20 is not supported
Traceback (most recent call last):
  File "api_server.py", line 3, in <module>
    start()
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""
WORKER = f"""\
(Worker pid=8) ERROR 11-29 11:02:40 [executor.py:953] Traceback (most recent call last):
(Worker pid=8) ERROR 11-29 11:02:40 [executor.py:953]   File "linear.py", line 930, in choose
(Worker pid=8) ERROR 11-29 11:02:40 [executor.py:953] ValueError: Failed to find a kernel. Reasons:
(Worker pid=8) ERROR 11-29 11:02:40 [executor.py:953]  A cannot: it requires an AMD Zen CPU.
(Worker pid=8) ERROR 11-29 11:02:40 [executor.py:953]  B cannot: output size (292) is not supported
(EngineCore pid=7) INFO 11-29 11:02:40 [executor.py:479] shutdown
(EngineCore pid=7) ERROR 11-29 11:02:42 [core.py:1510] Traceback (most recent call last):
(EngineCore pid=7) ERROR 11-29 11:02:42 [core.py:1510]   File "core.py", line 1, in run
(EngineCore pid=7) ERROR 11-29 11:02:42 [core.py:1510] Exception: WorkerProc failed. See stack trace for root cause.
{VLLM.partition("supported")[2].lstrip()}"""
PYDANTIC = """\
Traceback (most recent call last):
  File "config.py", line 3, in <module>
    create()
pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
  Value error, The model type 'gemma3_text' does not support float16.
    For further information visit https://errors.pydantic.dev
"""


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (TRACE, "ValueError: no such layer"),
        (CHAINED, "SystemError: boom"),
        (VLLM, "ValueError: head size 20 is not supported"),
        (
            WORKER,
            "ValueError: Failed to find a kernel. Reasons: A cannot: it requires an AMD Zen CPU. B cannot: output size "
            "(292) is not supported",
        ),
        (
            PYDANTIC,
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig Value error, The model "
            "type 'gemma3_text' does not support float16. For further information visit https://errors.pydantic.dev",
        ),
        ("usage: serve\nserve: error: unknown option --x\n\n", "serve: error: unknown option --x"),
        ("one\nTraceback (most recent call last):\n  File", "File"),
        ("  \n", ""),
        ("", ""),
    ],
)
def test_the_line_that_decides(log: str, line: str) -> None:
    assert decisive_line(log) == line


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("OSError: [Errno 28] No space left on device", "full-disk"),
        ("OperationalError: database or disk is full", "full-disk"),
        ("x\ntorch.OutOfMemoryError: CUDA out of memory.", "out-of-memory"),
        ("terminate called after throwing an instance of 'std::bad_alloc'", "out-of-memory"),
        ("ValueError: 4.0 GiB KV cache is needed, which is larger than the available KV cache memory", "out-of-memory"),
        ("DefaultCPUAllocator: can't allocate memory", "out-of-memory"),
        ("ModuleNotFoundError: No module named 'vllm'", "broken-environment"),
        ("OSError: [Errno 98] Address already in use", "port-taken"),
        ("main: couldn't bind HTTP server socket", "port-taken"),
        ("safetensors_rust.SafetensorError: Error while deserializing header", "unreadable-checkpoint"),
        ("all is well", None),
        ("", None),
    ],
)
def test_what_tools_and_engines_say(text: str, kind: FailureKind | None) -> None:
    assert kind_in(text) == kind


def test_an_exception_goes_by_its_type_before_its_words() -> None:
    assert kind_of(CellFailure("out of memory", kind="timeout")) == "timeout"
    assert kind_of(OSError(122, "quota")) == "full-disk"
    assert kind_of(OSError(2, "gone")) is None
    assert kind_of(type("OutOfMemoryError", (RuntimeError,), {})("CUDA")) == "out-of-memory"
