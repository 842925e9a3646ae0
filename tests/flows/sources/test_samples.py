from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

import engines.runtime.process
from engines.runtime.environments import Environment
from engines.runtime.process import ProcessFailed
from flows.sources.samples import run_in


class Shell:
    """In the place of an environment."""

    def argv(self, arguments: list[str], variables: Any) -> list[str]:
        return ["bash", "-c", *arguments]


def test_a_child_that_the_kernel_ended_for_want_of_memory_is_said_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its failure would be kept, and shown with the remedy of another."""
    counts = tmp_path / "vmstat"
    counts.write_text("oom_kill 7\n")
    monkeypatch.setattr(engines.runtime.process, "VMSTAT", counts)
    with pytest.raises(ProcessFailed, match="failed with signal SIGKILL, by the kernel for want of memory") as failed:
        run_in(cast(Environment, Shell()), [f"echo oom_kill 8 > {counts}; kill -KILL $$"], tmp_path / "log")
    assert failed.value.kind == "out-of-memory"
    with pytest.raises(ProcessFailed, match="failed with exit code 3") as failed:
        run_in(cast(Environment, Shell()), ["exit 3"], tmp_path / "log")
    assert failed.value.kind == "other"
