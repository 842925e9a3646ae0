"""A checkpoint of somebody else's is copied: weights and configuration, never pickles or code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quant.checkpoints.safetensors import CheckpointError
from quant.methods.existing import existing
from tests.support.checkpoints import write_safetensors

SIZES = {"vocab_size": 9, "hidden_size": 64, "num_hidden_layers": 1}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": True}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """(model, out, checkpoint): the checkpoint is as AutoGPTQ left it, with code and a pickle in it besides."""
    model, out, checkpoint = (tmp_path / name for name in ("model", "out", "checkpoint"))
    for folder in (model, out, checkpoint):
        folder.mkdir()
    (model / "config.json").write_text(json.dumps(SIZES))
    (model / "tokenizer.json").write_text("the model's")
    (checkpoint / "tokenizer.json").write_text("another one")
    (checkpoint / "config.json").write_text(json.dumps(SIZES))
    (checkpoint / "quantize_config.json").write_text(json.dumps(GPTQ))
    (checkpoint / "modeling_evil.py").write_text("raise SystemExit")
    (checkpoint / "pytorch_model.bin").write_bytes(b"pickle")
    write_safetensors(
        checkpoint / "gptq_model-4bit-32g.safetensors", {"model.layers.0.q.qweight": ("I32", (8, 64), 2048)}
    )
    return model, out, checkpoint


def test_weights_configuration_and_the_models_tokenizer_are_kept(folders: tuple[Path, Path, Path]) -> None:
    model, out, checkpoint = folders
    existing(model, out, checkpoint=str(checkpoint))
    assert sorted(file.name for file in out.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert json.loads((out / "config.json").read_text())["quantization_config"] == GPTQ
    assert (out / "tokenizer.json").read_text() == "the model's"


def test_a_gguf_gets_the_name_that_is_looked_for(folders: tuple[Path, Path, Path]) -> None:
    model, out, checkpoint = folders
    (checkpoint / "smollm2.Q4_K_M.gguf").write_bytes(b"GGUF")
    existing(model, out, checkpoint=str(checkpoint))
    assert (out / "model.gguf").read_bytes() == b"GGUF"


def test_a_checkpoint_of_another_model_is_refused(folders: tuple[Path, Path, Path]) -> None:
    model, out, checkpoint = folders
    (checkpoint / "config.json").write_text(json.dumps({**SIZES, "hidden_size": 128}))
    with pytest.raises(
        CheckpointError, match=r"not a checkpoint of this model: its hidden_size is 128 \(the model's: 64\)"
    ):
        existing(model, out, checkpoint=str(checkpoint))
