"""The machine's record from planted files: what the kernel, cgroups and NVML say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pynvml
import pytest

from engines.telemetry import device, machine
from engines.telemetry.device import available_cores, find_device, memory_limit
from engines.telemetry.machine import Gpu, this_machine

CPU_INFO = """processor\t: 0
cpu family\t: 25
model\t\t: 17
model name\t: A CPU
stepping\t: 1
flags\t\t: {flags}

processor\t: 1
"""


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    this_machine.cache_clear()
    yield
    this_machine.cache_clear()


def _plant(folder: Path, monkeypatch: pytest.MonkeyPatch, flags: str, own: str = "0::/a/b\n") -> None:
    (folder / "cpuinfo").write_text(CPU_INFO.format(flags=flags))
    (folder / "cgroup").write_text(own)
    monkeypatch.setattr(machine, "CPU_INFO", folder / "cpuinfo")
    monkeypatch.setattr(device, "OWN_CGROUP", folder / "cgroup")
    monkeypatch.setattr(device, "CGROUPS", folder / "groups")


def test_the_processor_is_read_with_all_of_its_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _plant(tmp_path, monkeypatch, "sse avx2 avx512f")
    first = this_machine("cpu")
    assert (first.cpu, first.family_model_stepping, first.features) == ("A CPU", "25/17/1", ("avx2", "avx512f"))
    this_machine.cache_clear()
    _plant(tmp_path, monkeypatch, "avx512f avx2 sse")
    assert this_machine("cpu") == first
    this_machine.cache_clear()
    _plant(tmp_path, monkeypatch, "avx512f avx2 sse another")
    assert this_machine("cpu").flags != first.flags
    described = replace(first, cores=1.5).described()
    assert described["machine: features"] == "avx2, avx512f"
    assert described["machine: cores"] == "1.5"
    assert "machine: driver" not in described


def test_quotas_of_both_cgroup_versions_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    _plant(tmp_path, monkeypatch, "")
    (tmp_path / "groups" / "a" / "b").mkdir(parents=True)
    assert available_cores() == 8.0
    (tmp_path / "groups" / "a" / "b" / "cpu.max").write_text("max 100000\n")
    (tmp_path / "groups" / "a" / "cpu.max").write_text("250000 100000\n")
    (tmp_path / "groups" / "a" / "memory.max").write_text("1000000\n")
    assert (available_cores(), memory_limit()) == (2.5, 1_000_000)
    assert find_device("cpu").memory_bytes == 1_000_000
    _plant(tmp_path, monkeypatch, "", "4:memory:/x\n3:cpu,cpuacct:/x\n2:name=systemd:/\n")
    for controller, files in {
        "cpu": {"cpu.cfs_quota_us": "150000", "cpu.cfs_period_us": "100000"},
        "memory": {"memory.limit_in_bytes": "2000000"},
    }.items():
        (tmp_path / "groups" / controller / "x").mkdir(parents=True)
        for name, text in files.items():
            (tmp_path / "groups" / controller / "x" / name).write_text(f"{text}\n")
    assert (available_cores(), memory_limit()) == (1.5, 2_000_000)
    (tmp_path / "groups" / "cpu" / "x" / "cpu.cfs_quota_us").write_text("-1\n")
    assert available_cores() == 8.0


def test_gpus_are_read_with_driver_power_limit_and_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def planted() -> Iterator[list[str]]:
        yield ["a", "b"]

    def limit(handle: str) -> int:
        if handle == "b":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return 300_000

    answers: dict[str, Any] = {
        "nvmlSystemGetDriverVersion": lambda: "570.1",
        "nvmlDeviceGetName": lambda handle: f"GPU {handle}",
        "nvmlDeviceGetVbiosVersion": lambda handle: "96.00",
        "nvmlDeviceGetEnforcedPowerLimit": limit,
        "nvmlDeviceGetMigMode": lambda handle: [int(handle == "b"), 0],
        "nvmlDeviceGetMaxMigDeviceCount": lambda handle: 2,
        "nvmlDeviceGetMigDeviceHandleByIndex": lambda handle, slot: f"{handle} MIG 1g.{slot}",
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)
    monkeypatch.setattr(machine, "nvml", planted)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    record = this_machine("cuda")
    assert record.driver == "570.1"
    assert record.gpus == (
        Gpu("GPU a", "96.00", 300.0, "off"),
        Gpu("GPU b", "96.00", None, "GPU b MIG 1g.0, GPU b MIG 1g.1"),
    )
    assert record.described()["machine: GPU 0 power limit watts"] == "300.0"
    assert this_machine("cpu").gpus == ()
