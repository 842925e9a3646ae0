"""Models that nothing can use are found in `plan`: reasons of rows, or an error where no model is left."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.plan.source import PlanError, load_plan
from flows.validate.plan import check, check_quantizations
from flows.validate.resolved import ResolvedPlan
from tests.support.bad_plans.changes import GOOD
from tests.support.checkpoints import write_tiny_model

LLAMA = {"architectures": ["LlamaForCausalLM"]}


def _folder(place: Path, change: Mapping[str, Any]) -> None:
    write_tiny_model(place)
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, **change}))


def _plan(tmp_path: Path, **change: Any) -> Path:
    (tmp_path / "text.txt").write_text("a b c d " * 2000)
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump({**copy.deepcopy(GOOD), **change}, sort_keys=False))
    return tmp_path / "plan.yaml"


def _check(tmp_path: Path, **change: Any) -> ResolvedPlan:
    return check(load_plan(_plan(tmp_path, **change)))


def test_rows_of_an_unsuitable_model_have_its_reason_and_its_line_is_said(tmp_path: Path, tiny_model: Path) -> None:
    _folder(tmp_path / "bert", {"architectures": ["BertForMaskedLM"]})
    sweep = _check(tmp_path, models=["tiny", "bert"])
    reasons = {(cell.model.name, cell.unsupported) for cell in sweep.cells}
    reason = "BertForMaskedLM has no language-model head. Choose a model for causal language modelling (…ForCausalLM)"
    assert reasons == {("tiny", None), ("bert", reason)}
    (note,) = sweep.warnings
    assert note.startswith(f"{tmp_path / 'plan.yaml'}:5: bert is unsuitable: BertForMaskedLM has no language-model")


def test_a_plan_without_a_suitable_model_is_an_error(tmp_path: Path) -> None:
    _folder(tmp_path / "t5", {"is_encoder_decoder": True})
    with pytest.raises(PlanError, match=r"plan\.yaml:4: t5 is unsuitable: it is an encoder-decoder"):
        _check(tmp_path, models=["t5"])
    with pytest.raises(PlanError, match="choose a decoder-only language model"):
        check_quantizations(load_plan(_plan(tmp_path, models=["t5"])))


def test_a_shard_that_is_missing_is_a_reason(tmp_path: Path, tiny_model: Path) -> None:
    _folder(tmp_path / "torn", LLAMA)
    index = {"weight_map": {"model.norm.weight": "model-00002-of-00002.safetensors"}}
    (tmp_path / "torn" / "model.safetensors").rename(tmp_path / "torn" / "model-00001-of-00002.safetensors")
    (tmp_path / "torn" / "model.safetensors.index.json").write_text(json.dumps(index))
    sweep = _check(tmp_path, models=["tiny", "torn"])
    assert "names model-00002-of-00002.safetensors, which is not in the folder" in str(sweep.cells[-1].unsupported)


def test_the_architecture_reaches_methods_and_engines(tmp_path: Path, tiny_model: Path) -> None:
    _folder(tmp_path / "gpt2", {"architectures": ["GPT2LMHeadModel"]})
    _folder(tmp_path / "mamba", {"architectures": ["MambaForCausalLM"], "state_size": 16})
    sweep = _check(tmp_path, models=["tiny", "gpt2", "mamba"])
    reasons = {(cell.model.name, cell.quantization.method.name): str(cell.unsupported) for cell in sweep.cells}
    assert {reasons["tiny", name] for name in ("none", "rtn", "gptq")} == {"None"}
    assert reasons["gpt2", "none"] == "None"
    assert "of the class Linear alone" in reasons["gpt2", "rtn"]
    assert "layers of MambaForCausalLM keep a state instead" in reasons["mamba", "none"]


def test_a_method_that_does_not_quantize_the_one_model_is_an_error(tmp_path: Path) -> None:
    _folder(tmp_path / "gpt2", {"architectures": ["GPT2LMHeadModel"]})
    with pytest.raises(PlanError, match="of the class Linear alone"):
        check_quantizations(load_plan(_plan(tmp_path, models=["gpt2"])))


def test_what_does_not_fit_an_unsuitable_model_is_no_error(tmp_path: Path, tiny_model: Path) -> None:
    _folder(tmp_path / "bert", {"architectures": ["BertForMaskedLM"], "max_position_embeddings": 16})
    assert _check(tmp_path, models=["tiny", "bert"]).cells


@pytest.mark.parametrize("name", ["n_positions", "max_position_embeddings"])
def test_a_window_is_held_against_positions_by_any_name(tmp_path: Path, tiny_model: Path, name: str) -> None:
    _folder(tmp_path / "gpt2", {"max_position_embeddings": None, name: 1024})
    with pytest.raises(PlanError, match="a window of 2000 tokens does not fit gpt2, which has 1024 positions"):
        _check(tmp_path, models=["gpt2"], max_length=2000)


def test_a_nested_configuration_is_read(tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "nested")
    text = {"max_position_embeddings": 512, "vocab_size": 8}
    (tmp_path / "nested" / "config.json").write_text(json.dumps({**LLAMA, "text_config": text}))
    with pytest.raises(PlanError, match="which has 512 positions"):
        _check(tmp_path, models=["nested"], max_length=1024)


def test_a_model_whose_texts_have_no_end_is_unsuitable(tmp_path: Path, tiny_model: Path) -> None:
    _folder(tmp_path / "endless", LLAMA)
    (tmp_path / "endless" / "tokenizer_config.json").write_text("{}")
    sweep = _check(tmp_path, models=["tiny", "endless"])
    assert sweep.cells[-1].unsupported == "no end-of-text token. Name eos_token in tokenizer_config.json"
    config = json.loads((tmp_path / "endless" / "config.json").read_text())
    (tmp_path / "endless" / "config.json").write_text(json.dumps({**config, "eos_token_id": [1, 2]}))  # GPT-2's way
    assert _check(tmp_path, models=["endless"]).warnings == ()
