"""What else the machine did while something was timed."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from engines.telemetry import disturbance
from engines.telemetry.disturbance import CpuWatch, Disturbance, Sentinel, sentinel, slow_sentinel


def _stat(busy: int, stolen: int) -> str:
    """Two CPUs of ours and one that is not; in clock ticks."""
    ours = "".join(f"cpu{cpu} {busy} 0 0 1000 0 0 0 {stolen} 0 0\n" for cpu in sorted(os.sched_getaffinity(0)))
    return f"cpu  1 1 1 1 1 1 1 1 0 0\n{ours}cpu9999 777777 0 0 0 0 0 0 777777 0 0\nintr 1\n"


def test_others_and_the_hypervisor_are_counted_on_our_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat, pressure = tmp_path / "stat", tmp_path / "cpu"
    monkeypatch.setattr(disturbance, "STAT", stat)
    monkeypatch.setattr(disturbance, "PRESSURE", pressure)
    stat.write_text(_stat(busy=1000, stolen=10))
    pressure.write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n")
    watch = CpuWatch(None)
    began = time.perf_counter()
    time.sleep(0.2)
    stat.write_text(_stat(busy=1000 + 100 * os.sysconf("SC_CLK_TCK"), stolen=10 + 50 * os.sysconf("SC_CLK_TCK")))
    pressure.write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=1050000\n")
    seen = watch.disturbance()
    passed = time.perf_counter() - began
    assert seen.foreign == pytest.approx(100 / passed, rel=0.1)
    assert seen.steal == pytest.approx(50 / passed, rel=0.1)
    assert seen.pressure == pytest.approx(0.05 / passed, rel=0.3)
    (foreign, steal) = seen.reasons
    assert foreign.startswith("other processes used ")
    assert foreign.endswith(" of the CPUs' time (at most 10 %)")
    assert steal.startswith("the hypervisor took ")


def test_our_own_work_is_not_foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    monkeypatch.setattr(disturbance, "STAT", stat)
    stat.write_text(_stat(0, 0))
    watch = CpuWatch(None)
    until = time.thread_time() + 0.3
    while time.thread_time() < until:
        pass
    stat.write_text(_stat(round(0.25 * os.sysconf("SC_CLK_TCK") / len(os.sched_getaffinity(0))), 0))
    assert watch.disturbance().foreign == 0.0


def test_a_kernel_that_tells_nothing_is_no_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disturbance, "STAT", tmp_path / "none")
    monkeypatch.setattr(disturbance, "PRESSURE", tmp_path / "none")
    seen = CpuWatch(None).disturbance()
    assert (seen.foreign, seen.steal, seen.pressure, seen.reasons) == (0.0, 0.0, 0.0, [])
    assert Disturbance(0.1, 0.1, 1.0, 9.0).reasons == []


def test_a_slow_sentinel_is_one_that_is_slower_than_usual() -> None:
    usual = [Sentinel(100.0, 50.0), Sentinel(101.0, 51.0), Sentinel(99.0, 49.0)]
    assert slow_sentinel(Sentinel(1.0, 1.0), usual[:2]) == []  # too few to know what is usual
    assert slow_sentinel(Sentinel(86.0, 43.0), usual) == []
    assert slow_sentinel(Sentinel(80.0, 50.0), usual) == ["hashing was 20 % slower than usual here (at most 15 %)"]
    assert slow_sentinel(Sentinel(100.0, 25.0), usual) == ["copying was 50 % slower than usual here (at most 15 %)"]


def test_a_sentinel_that_was_kept_waiting_has_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine so busy that its time was over before it ran; later ones are held against it."""
    monkeypatch.setattr(disturbance, "SENTINEL_SECONDS", -1.0)
    seen = sentinel(1)
    assert seen.hashed > 0
    assert seen.copied > 0
    assert slow_sentinel(seen, [seen] * 3) == []


def test_the_sentinel_works_on_all_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disturbance, "SENTINEL_SECONDS", 0.05)
    before = threading.active_count()
    seen = sentinel(2)
    assert seen.hashed > 1e6
    assert seen.copied > 1e6
    assert threading.active_count() == before
