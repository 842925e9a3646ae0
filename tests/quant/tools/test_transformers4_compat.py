from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quant.tools.transformers4_compat import legacy_copy


def _model(folder: Path, rope: dict[str, Any], merges: list[Any]) -> Path:
    folder.mkdir()
    config = {"hidden_size": 64, "dtype": "float16", "transformers_version": "5.17.0", "rope_parameters": rope}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "merges": merges}}))
    tokenizer_config = {"tokenizer_class": "TokenizersBackend", "eos_token": "</s>", "pad_token": None}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_a_configuration_gets_its_old_names(tmp_path: Path) -> None:
    model = _model(tmp_path / "new", {"rope_theta": 100000.0, "rope_type": "default"}, [["a", "b"], ["ab", "c"]])
    old = legacy_copy(model, tmp_path / "old")
    config = json.loads((old / "config.json").read_text())
    assert config == {"hidden_size": 64, "torch_dtype": "float16", "rope_theta": 100000.0, "rope_scaling": None}
    assert json.loads((old / "tokenizer.json").read_text())["model"]["merges"] == ["a b", "ab c"]
    tokenizer_config = json.loads((old / "tokenizer_config.json").read_text())
    assert tokenizer_config == {"eos_token": "</s>", "tokenizer_class": "PreTrainedTokenizerFast"}
    assert (old / "model.safetensors").read_bytes() == b"weights"
    assert (old / "model.safetensors").is_symlink()


def test_a_scaled_rotary_embedding_keeps_its_scaling(tmp_path: Path) -> None:
    rope = {"rope_theta": 500000.0, "rope_type": "llama3", "factor": 8.0}
    old = legacy_copy(_model(tmp_path / "new", rope, []), tmp_path / "old")
    config = json.loads((old / "config.json").read_text())
    assert config["rope_scaling"] == {"rope_type": "llama3", "factor": 8.0}


def test_what_has_no_old_form_is_refused(tmp_path: Path) -> None:
    by_layer = {"full_attention": {"rope_theta": 1.0}}
    with pytest.raises(ValueError, match="rope_parameters by layer have no form that Transformers 4 reads"):
        legacy_copy(_model(tmp_path / "a", by_layer, []), tmp_path / "a-old")
    with pytest.raises(ValueError, match="a merge with a space in it has no form that Transformers 4 reads"):
        legacy_copy(_model(tmp_path / "b", {}, [["a b", "c"]]), tmp_path / "b-old")
