"""The side process on real processes, and with a planted NVML in the place of NVIDIA's library."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import engines.telemetry.sampler
from engines.runtime.process import Child, ProcessFailed, running
from engines.telemetry.gpu import Reading
from engines.telemetry.sampler import Watch, watch
from tests.support.planted_nvml import plant_in_children

CODE = "import time; b = bytearray(150_000_000); print('ready', flush=True); time.sleep(600)"


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    with running([sys.executable, "-c", CODE], {}, tmp_path / "log") as process:
        while "ready" not in (tmp_path / "log").read_text():
            time.sleep(0.01)
        yield process


def test_memory_of_a_tree_is_seen(child: Child) -> None:
    with watch(child, "cpu") as seen:
        pass
    assert 150_000_000 < seen.loaded_bytes < 400_000_000
    assert 150_000_000 < seen.peak_bytes < 400_000_000
    assert len(seen.memory_bytes) >= 2
    times = [seconds for seconds, _ in seen.memory_samples()]
    assert times[0] == 0.0 < times[-1] < 60
    assert times == sorted(times)
    assert (seen.readings, seen.used) == ([], set())


def test_gpus_are_read_by_a_process_of_its_own(child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_in_children(tmp_path, monkeypatch)
    before = time.perf_counter()
    with watch(child, "cuda") as seen:
        time.sleep(0.5)
    after = time.perf_counter()
    assert seen.used == {0, 1}
    assert seen.peak_bytes == 2 * 1_000_000 * len(child.tree())
    assert {reading.gpu for reading in seen.readings} == {0, 1}
    assert all(before < reading.seconds < after for reading in seen.readings)
    assert {reading.watts for reading in seen.readings} == {100.0, 300.0}
    assert len(seen.readings) >= 4


def test_of_many_samples_the_highest_of_each_span_is_kept() -> None:
    seen = Watch(memory_bytes=[1, 9, 2, 3, 8, 4, 5], memory_seconds=[10.0, 10.5, 11.0, 11.5, 12.0, 12.5, 13.0])
    assert seen.memory_samples(most=3) == ((0.5, 9), (2.0, 8), (3.0, 5))
    assert [size for _, size in seen.memory_samples()] == seen.memory_bytes


def _reading(gpu: int) -> Reading:
    return Reading(gpu, 0.0, 100.0, None, None, None, None)


def test_only_gpus_that_the_server_uses_count() -> None:
    both = [_reading(0), _reading(1)]
    assert Watch(readings=both, used={1}).readings_of(2) == [both[1]]
    assert Watch(readings=both).readings_of(2) == both  # its processes are not seen, but it has all there are
    assert Watch(readings=both).readings_of(1) == []  # on which of them it ran is not known
    assert Watch().readings_of(1) == []


def test_a_sampler_that_does_not_start_is_told(child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_in_children(tmp_path, monkeypatch, "raise ImportError('no library of that name')")
    with (
        pytest.raises(ProcessFailed, match=r"(?s)the sampler of memory ended:.*no library of that name"),
        watch(child, "cuda"),
    ):
        pytest.fail("the block must not run")


def test_a_sampler_that_hangs_is_told(child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_in_children(tmp_path, monkeypatch, "import time; time.sleep(600)")
    monkeypatch.setattr(engines.telemetry.sampler, "START_SECONDS", 0.3)
    with pytest.raises(ProcessFailed, match=r"the sampler of memory said nothing in 0\.3 s"), watch(child, "cuda"):
        pytest.fail("the block must not run")


def test_a_sampler_that_ends_early_is_told(child: Child) -> None:
    """Its peak would be one of half of the load."""
    with pytest.raises(ProcessFailed, match="the sampler of memory ended with exit code"), watch(child, "cpu"):
        _kill_the_sampler()


def _kill_the_sampler() -> None:
    children = psutil.Process().children(recursive=True)
    alive = [process for process in children if process.status() != psutil.STATUS_ZOMBIE]  # other tests' may lie about
    (sampler,) = [process for process in alive if process.cmdline()[1:3] == ["-m", "engines.telemetry.sampler"]]
    sampler.kill()
    sampler.wait(20)
