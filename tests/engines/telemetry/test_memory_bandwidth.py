"""The memory's bandwidth: who measures it, that it is kept, and what a program that cannot says. No time is asserted."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import engines.telemetry.memory_bandwidth
from engines.runtime.environments import Environment
from engines.telemetry import bandwidth_cpu
from engines.telemetry.machine import this_machine
from engines.telemetry.memory_bandwidth import Bandwidth, memory_bandwidth
from engines.types import Device

CPU = Device("cpu", "a test", frozenset(), 1)
GPU = Device("cuda", "a GPU", frozenset({"sm90"}), 1)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))


def _speaking(tmp_path: Path, rates: list[float], name: str = "transformers") -> Environment:
    """An interpreter that says that the memory is this fast, and counts how often it was asked."""
    output, asked = json.dumps({"bytes_per_second": rates, "how": "planted"}), tmp_path / "asked"
    program = f"open({str(asked)!r}, 'a').write('x'); print('a banner'); print({output!r})"
    return Environment(name, name, (sys.executable, "-c", program))


def test_every_thread_reads_and_every_repeat_counts() -> None:
    rates = bandwidth_cpu.rates(2, 1 << 16, 3)
    assert len(rates) == 3
    assert all(rate > 0 for rate in rates)


def test_a_cpu_is_measured_by_a_program_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bandwidth_cpu, "BYTES_PER_THREAD", 1 << 16)
    monkeypatch.setattr(sys, "argv", ["cpu_reads", "1"])
    bandwidth_cpu.main()
    document = json.loads(capsys.readouterr().out)
    assert len(document["bytes_per_second"]) == bandwidth_cpu.REPEATS
    assert document["how"].endswith("in 1 thread")


def test_the_real_program_runs() -> None:
    bandwidth = memory_bandwidth(CPU, 1, [])
    assert bandwidth is not None
    assert bandwidth.lowest_bytes_per_second <= bandwidth.median_bytes_per_second <= bandwidth.bytes_per_second
    assert memory_bandwidth(CPU, 1, []) == bandwidth


@pytest.mark.parametrize("field", [{"cpu": "another"}, {"cores": 64.0}, {"memory_gib": 1.5}, {"driver": "another"}])
def test_it_is_measured_once_for_a_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: dict[str, Any]
) -> None:
    """Whose record says more than the name of its device."""
    environment = _speaking(tmp_path, [1e12, 3e12, 2e12])
    wanted = Bandwidth(3e12, 2e12, 1e12, 3, "planted")
    assert memory_bandwidth(GPU, 2, [environment]) == wanted
    assert memory_bandwidth(GPU, 4, [environment]) == wanted  # a GPU's does not depend on our threads
    assert (tmp_path / "asked").read_text() == "x"
    machine = replace(this_machine("cuda"), **field)
    monkeypatch.setattr(engines.telemetry.memory_bandwidth, "this_machine", lambda _: machine)
    assert memory_bandwidth(GPU, 2, [environment]) == wanted
    assert (tmp_path / "asked").read_text() == "xx"


def test_the_first_environment_with_torch_measures_a_gpu(tmp_path: Path) -> None:
    program = Environment("tgi", "tgi", (sys.executable, "-c", "raise AssertionError"))
    without = Environment("none", "none", (sys.executable, "-c", "raise ImportError"))
    silent = Environment("silent", "silent", (sys.executable, "-c", ""))
    gone = Environment("gone", "gone", (str(tmp_path / "gone"),))
    assert memory_bandwidth(GPU, 1, [program, without, silent, gone]) is None
    bandwidth = memory_bandwidth(GPU, 1, [program, without, silent, gone, _speaking(tmp_path, [1e12])])
    assert bandwidth == Bandwidth(1e12, 1e12, 1e12, 1, "planted")


def test_a_program_that_hangs_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.telemetry.memory_bandwidth, "TIMEOUT_SECONDS", 0.5)
    hangs = Environment("hangs", "hangs", (sys.executable, "-c", "import time; time.sleep(60)"))
    assert memory_bandwidth(GPU, 1, [hangs]) is None
