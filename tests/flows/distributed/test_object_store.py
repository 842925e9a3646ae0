from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.distributed.object_store import StoreError, fetch_folder, open_store


def _bundle(folder: Path) -> list[str]:
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "a.bin").write_bytes(b"a" * 100)
    (folder / "record.json").write_text("{}")
    return ["weights/a.bin", "record.json"]


def test_a_bundle_comes_back_whole(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    assert not store.has("checkpoints/k")
    store.publish("checkpoints/k", tmp_path / "here", _bundle(tmp_path / "here"))
    assert store.has("checkpoints/k")
    fetch_folder(store, "checkpoints/k", tmp_path / "there")
    assert (tmp_path / "there" / "weights" / "a.bin").read_bytes() == b"a" * 100
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["record.json", "weights"]
    assert not list((tmp_path / "store" / "incoming").iterdir())


def test_what_is_there_is_listed_by_kind(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    assert store.names("trials") == set()
    for name in ("trials/k", "trials/l", "checkpoints/k"):
        store.publish(name, tmp_path / name, _bundle(tmp_path / name))
    assert store.names("trials") == {"trials/k", "trials/l"}


def test_memory_is_a_file_system_too(tmp_path: Path) -> None:
    store = open_store(f"memory://{tmp_path.name}")
    store.publish("trials/k", tmp_path / "here", _bundle(tmp_path / "here"))
    assert store.fetch("trials/k", tmp_path / "there") == ["weights/a.bin", "record.json"]


def test_damage_is_noticed_and_nothing_is_left(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    store.publish("trials/k", tmp_path / "here", _bundle(tmp_path / "here"))
    for blob in (tmp_path / "store" / "blobs").iterdir():
        blob.write_bytes(b"other")
    with pytest.raises(StoreError, match=r"a.bin in the store .* is damaged; delete blobs/"):
        store.fetch("trials/k", tmp_path / "there")
    assert not [path for path in (tmp_path / "there").rglob("*") if path.is_file()]


def test_a_bundle_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="trials/k is not in the store"):
        open_store(str(tmp_path)).fetch("trials/k", tmp_path)


@pytest.mark.parametrize("name", ["../out", "/etc/out"])
def test_a_bundle_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    store = open_store(str(tmp_path / "store"))
    (tmp_path / "store" / "trials").mkdir(parents=True)
    (tmp_path / "store" / "trials" / "k.json").write_text(json.dumps({"files": {name: "0"}}))
    with pytest.raises(StoreError, match="names a file outside its folder"):
        store.fetch("trials/k", tmp_path / "there")


def test_an_address_of_no_kind() -> None:
    with pytest.raises(StoreError, match=r"the store nowhere://x cannot be used: .*; give a folder"):
        open_store("nowhere://x")
