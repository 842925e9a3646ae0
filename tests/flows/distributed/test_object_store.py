from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pytest
from pydantic import TypeAdapter

from flows.distributed.object_store import StoreError, fetch_folder, open_store
from quant.checkpoints.safetensors import CheckpointError


def _files(folder: Path) -> list[str]:
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "a.safetensors").write_bytes(b"a" * 100)
    (folder / "record.json").write_text("{}")
    return ["weights/a.safetensors", "record.json"]


def test_a_manifest_comes_back_whole(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    assert not store.has("checkpoints/k")
    store.publish("checkpoints/k", tmp_path / "here", _files(tmp_path / "here"))
    assert store.has("checkpoints/k")
    fetch_folder(store, "checkpoints/k", tmp_path / "there")
    assert (tmp_path / "there" / "weights" / "a.safetensors").read_bytes() == b"a" * 100
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["record.json", "weights"]
    assert not list((tmp_path / "store" / "incoming").iterdir())


def test_what_is_there_is_listed_by_kind(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    assert store.names("trials") == set()
    for name in ("trials/k", "trials/l", "checkpoints/k"):
        store.publish(name, tmp_path / name, _files(tmp_path / name))
    assert store.names("trials") == {"trials/k", "trials/l"}


def test_a_record_comes_back_as_what_it_was(tmp_path: Path) -> None:
    store, kind = open_store(str(tmp_path / "store")), TypeAdapter(dict[str, int])
    store.publish_record("rounds/k", {"a": 1})
    assert store.record("rounds/k", kind) == {"a": 1}
    store.publish_record("rounds/l", ["a"])
    with pytest.raises(StoreError, match=r"rounds/l.json: it is damaged \(ValidationError: .* Delete it there"):
        store.record("rounds/l", kind)
    store.publish("rounds/m", tmp_path / "here", _files(tmp_path / "here"))
    with pytest.raises(StoreError, match=r"names a file that is none of its kind: weights/a"):
        store.record("rounds/m", kind)


def test_memory_is_a_file_system_too(tmp_path: Path) -> None:
    store = open_store(f"memory://{tmp_path.name}")
    store.publish("checkpoints/k", tmp_path / "here", _files(tmp_path / "here"))
    assert store.fetch("checkpoints/k", tmp_path / "there") == ["weights/a.safetensors", "record.json"]


def test_damage_is_noticed_and_nothing_is_left(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    store.publish("checkpoints/k", tmp_path / "here", _files(tmp_path / "here"))
    for blob in (tmp_path / "store" / "blobs").iterdir():
        blob.write_bytes(b"other")
    with pytest.raises(StoreError, match=r"a.safetensors in the store .* is damaged; delete blobs/"):
        store.fetch("checkpoints/k", tmp_path / "there")
    assert not [path for path in (tmp_path / "there").rglob("*") if path.is_file()]


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="trials/k is not in the store"):
        open_store(str(tmp_path)).fetch("trials/k", tmp_path)


@pytest.mark.parametrize("name", ["../out", "/etc/out", "."])
def test_a_manifest_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    store = open_store(str(tmp_path / "store"))
    (tmp_path / "store" / "trials").mkdir(parents=True)
    (tmp_path / "store" / "trials" / "k.json").write_text(json.dumps({"files": {name: "0" * 64}}))
    with pytest.raises(StoreError, match="names a file outside its folder"):
        store.fetch("trials/k", tmp_path / "there")


def test_an_address_of_no_kind() -> None:
    with pytest.raises(StoreError, match=r"the store nowhere://x cannot be used: .*; give a folder"):
        open_store("nowhere://x")


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "[" * 100_000,
        '{"files": []}',
        '{"files": {"a": 5}}',
        '{"files": {"a": "../../etc/passwd"}}',
        '{"files": {"a\\u0000b": "%s"}}' % ("0" * 64),
    ],
)
def test_a_damaged_manifest_is_a_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "k.json").write_text(content)
    with pytest.raises(StoreError, match=r"trials/k\.json: it is damaged \(.*\)\. Delete it there$"):
        open_store(str(tmp_path)).fetch("trials/k", tmp_path / "there")


def test_a_manifest_that_the_store_does_not_give_is_not_to_be_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its network is gone, or the login has run out: what is finished there stays."""
    store = open_store(str(tmp_path))
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "k.json").write_text("{}")

    def refused(*_: object) -> None:
        raise PermissionError("the token has expired")

    monkeypatch.setattr(type(store.files), "cat_file", refused)
    with pytest.raises(
        StoreError, match=r"k\.json: the store does not give it \(PermissionError: .*\)\. Try again"
    ) as raised:
        store.fetch("trials/k", tmp_path / "there")
    assert "elete" not in str(raised.value)


@pytest.mark.parametrize("name", ["sweep.json", "plan.yaml", "report.html", "figures/frontier.svg"])
def test_a_trial_s_bundle_brings_nothing_else_of_a_run(tmp_path: Path, name: str) -> None:
    store, here = open_store(str(tmp_path / "store")), tmp_path / "here"
    (here / name).parent.mkdir(parents=True)
    (here / name).write_text("theirs")
    store.publish("trials/k", here, [name])
    with pytest.raises(StoreError, match=r"trials/k in the store .* names a file that is none of its kind: "):
        store.fetch("trials/k", tmp_path / "run")
    assert not (tmp_path / "run" / name).exists()


def test_a_checkpoint_s_bundle_with_code_is_refused(tmp_path: Path) -> None:
    store, here = open_store(str(tmp_path / "store")), tmp_path / "here"
    here.mkdir()
    (here / "modeling_evil.py").write_text("print()")
    store.publish("checkpoints/k", here, ["modeling_evil.py"])
    with pytest.raises(CheckpointError, match=r"modeling_evil\.py: a checkpoint holds no code"):
        fetch_folder(store, "checkpoints/k", tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_nothing_is_left_of_a_refused_checkpoint(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "model.py").write_text("")
    store.publish("checkpoints/k", tmp_path / "here", ["model.py"])
    with pytest.raises(CheckpointError, match="holds no code"):
        fetch_folder(store, "checkpoints/k", tmp_path / "cache" / "k")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_checkpoint_whose_configuration_names_code_is_refused(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "config.json").write_text(json.dumps({"_attn_implementation": "theirs/kernels"}))
    store.publish("checkpoints/k", tmp_path / "here", ["config.json"])
    with pytest.raises(CheckpointError, match="asks for code of the repository theirs/kernels"):
        fetch_folder(store, "checkpoints/k", tmp_path / "there")


def test_an_address_with_a_password_is_refused() -> None:
    """It would be a tag and a parameter of Prefect's runs."""
    with pytest.raises(StoreError, match=r"the store ftp://\(hidden\)@host/runs holds a user or password, and Prefect"):
        open_store("ftp://me:p4ssw0rd@host/runs")


@pytest.mark.parametrize("url", ["abfs://runs@site.dfs.core.windows.net/sweeps", "sftp://me@host/runs"])
def test_an_address_with_a_name_alone_is_none_with_a_password(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Azure's own form of an address is `abfs://container@account…`."""
    files = fsspec.filesystem("memory")
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda _: (files, "/runs"))
    assert open_store(url).url == url
    with pytest.raises(StoreError, match="holds a user or password"):
        open_store(url.replace("@", ":p4ssw0rd@"))
