from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import engines.device as device_module
from engines.device import cpu, find_device
from engines.memory import sample, watch
from engines.process import running


def test_the_cpu_is_described() -> None:
    one = cpu()
    assert one.kind == "cpu"
    assert "cores" in one.name
    assert one.memory_bytes > 10**9


def test_cuda_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "_first_gpu", lambda: None)
    with pytest.raises(ValueError, match="no NVIDIA GPU found by NVML"):
        find_device("cuda")
    assert find_device("auto").kind == "cpu"


def test_memory_of_a_tree_is_seen(tmp_path: Path) -> None:
    code = "import sys, time; b = bytearray(150_000_000); print('ready', flush=True); time.sleep(60)"
    with running([sys.executable, "-c", code], {}, tmp_path / "log") as child:
        while "ready" not in (tmp_path / "log").read_text():
            os.sched_yield()
        with watch(child) as seen:
            now, _ = sample(child)
        assert 150_000_000 < now < 400_000_000
        assert seen.peak_host_bytes >= 150_000_000
        assert seen.peak_device_bytes == 0
