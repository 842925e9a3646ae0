"""Facts of the machine that tell no name."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

import engines.telemetry.host
from engines.telemetry.host import cpu_model, host_id


def test_a_host_has_a_hash_for_an_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = set()
    for number, text in enumerate(["0123456789abcdef\n", "fedcba9876543210\n", None]):
        file = tmp_path / str(number)
        if text is not None:
            file.write_text(text)
        monkeypatch.setattr(engines.telemetry.host, "MACHINE_ID", file)
        host_id.cache_clear()
        ids.add(host_id())
        assert len(host_id()) == 12
        assert host_id() not in (text or "")
    host_id.cache_clear()
    assert len(ids) == 3


def test_the_cpu_is_what_the_kernel_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nmodel name\t: Some CPU @ 2.00GHz\n")
    for file, name in ((info, "Some CPU @ 2.00GHz"), (tmp_path / "none", platform.machine())):
        monkeypatch.setattr(engines.telemetry.host, "CPU_INFO", file)
        cpu_model.cache_clear()
        assert cpu_model() == name
    cpu_model.cache_clear()
