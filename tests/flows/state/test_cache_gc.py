from __future__ import annotations

from pathlib import Path

import pytest

from engines.runtime.environments import known_environments, resolve
from flows.state.cache_gc import free, known_runs, register, unneeded
from flows.state.locks import RunBusy, alone, slots
from quant.canonical_json import write_json


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("BITFRONTIER_CACHE", str(folder))
    monkeypatch.setenv("BITFRONTIER_LOCKS", str(tmp_path / "locks"))
    for name in ("checkpoints/old", "checkpoints/new", "checkpoints/half.partial", "environments/gguf-0000"):
        (folder / name).mkdir(parents=True)
        (folder / name / "file").write_bytes(b"x" * 10_000)
    (folder / "checkpoints" / "old.lock").touch()
    (folder / "answers").mkdir()
    (folder / "answers" / "old.sqlite").write_bytes(b"x" * 50_000)
    return folder


def _run(folder: Path, needs: list[str]) -> Path:
    folder.mkdir(parents=True)
    write_json(folder / "sweep.json", {"needs": needs})
    register(folder)
    return folder


def test_what_a_run_needs_is_kept(cache: Path, tmp_path: Path) -> None:
    run = _run(tmp_path / "runs" / "a", ["checkpoints/new"])
    found = unneeded(known_runs())
    assert [one.path.name for one in found] == ["old.sqlite", "half.partial", "old", "gguf-0000"]
    assert all(one.bytes >= 10_000 for one in found)
    free(found)
    assert (cache / "checkpoints" / "new" / "file").exists()
    assert not (cache / "checkpoints" / "old").exists()
    assert unneeded([run]) == []


def test_a_run_that_was_deleted_needs_nothing(cache: Path, tmp_path: Path) -> None:
    run = _run(tmp_path / "runs" / "a", ["checkpoints/new"])
    (run / "sweep.json").unlink()
    run.rmdir()
    assert known_runs() == []
    assert "new" in {one.path.name for one in unneeded(known_runs())}


def test_environments_of_the_present_pins_stay(cache: Path) -> None:
    present = resolve(known_environments()[0]).folder
    assert present is not None
    present.mkdir()
    assert present not in {one.path for one in unneeded([])}


def test_nothing_is_freed_under_a_sweep(cache: Path, tmp_path: Path) -> None:
    run = _run(tmp_path / "runs" / "a", [])
    with alone(run), pytest.raises(RunBusy, match=r"runs/a is being swept; free the cache when it has ended"):
        unneeded([run])


def test_nothing_is_freed_while_a_device_is_worked_on(cache: Path) -> None:
    with slots(["cpu"]), pytest.raises(RunBusy, match=r"cpu: somebody measures or quantizes there; free the cache"):
        unneeded([])


def test_what_is_needed_since_it_was_shown_is_not_freed(cache: Path, tmp_path: Path) -> None:
    found = unneeded(known_runs())
    run = _run(tmp_path / "runs" / "meanwhile", ["checkpoints/old"])
    with alone(run), pytest.raises(RunBusy, match=r"runs/meanwhile is being swept; free the cache when it has ended"):
        free(found)
    assert (cache / "checkpoints" / "new").exists()
    free(found)
    assert (cache / "checkpoints" / "old" / "file").exists()
    assert not (cache / "checkpoints" / "new").exists()
