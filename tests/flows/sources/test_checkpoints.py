from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from engines.runtime.environments import resolve
from flows.execute.quantize_checkpoint import make_job
from flows.sources.checkpoints import contents, fetch_stored, find_stored
from flows.sources.models import Model
from flows.sources.samples import SourceError
from flows.validate.matrix import Quantization
from quant.registry import methods


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"quantization_config": {"quant_method": "awq"}}))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def _content(folder: Path) -> dict[str, str]:
    return contents({"checkpoint": find_stored(folder.name, folder.parent)})


def test_a_folder_is_relative_to_the_plan(checkpoint: Path) -> None:
    stored_checkpoint = find_stored("there", checkpoint.parent)
    assert (stored_checkpoint.text, stored_checkpoint.folder) == ("there", checkpoint)
    fetch_stored(stored_checkpoint)  # nothing to fetch


def test_a_folder_that_is_not_there_is_refused(checkpoint: Path) -> None:
    with pytest.raises(SourceError, match="nowhere does not exist"):
        find_stored("nowhere", checkpoint.parent)


def test_a_name_that_is_none_and_a_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SourceError, match="'a/b/c' is not a hub name"):
        find_stored("hub:a/b/c", Path())
    with pytest.raises(SourceError, match="'nobody/nothing' is not in the local cache"):
        find_stored("hub:nobody/nothing", Path())


def test_the_digest_is_that_of_the_content(checkpoint: Path) -> None:
    first = _content(checkpoint)
    assert _content(checkpoint) == first
    (checkpoint / "notes.txt").write_text("no weight")
    assert _content(checkpoint) == first
    (checkpoint / "model.safetensors").write_bytes(b"other weights")
    assert _content(checkpoint) != first


def test_the_key_goes_by_what_is_in_the_folder_not_by_its_name(checkpoint: Path) -> None:
    method = methods()["existing"]

    def key(folder: Path) -> str:
        parameters = {"checkpoint": str(folder)}
        quantization = Quantization(
            0, method, "x", {"checkpoint": "same"}, method.scheme(parameters), method.format(parameters), None
        )
        quantization = replace(quantization, stored={"checkpoint": find_stored(str(folder), Path())})
        model = Model("m", checkpoint, "content", {}, "")
        return make_job(model, quantization, resolve("transformers"), text="", base=Path(), threads=1).key

    copy = checkpoint.parent / "copy"
    copy.mkdir()
    for file in checkpoint.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    before = key(checkpoint)
    assert key(copy) == before
    (checkpoint / "model.safetensors").write_bytes(b"changed weights")
    assert key(checkpoint) != before
