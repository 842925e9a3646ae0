"""SmoothQuant and AWQ on tiny models with random weights. Runs in the environment `llmcompressor`.

Methods may be named on the command line; prints one line of JSON: of each model and method the reason that it failed
with, or null.
"""

from __future__ import annotations

import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from llmcompressor.core import reset_session
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from quant.methods.awq import awq
from quant.methods.smoothquant import smoothquant
from quant.tools.llmcompressor import TransformFailed
from quant.types import Calibration

VOCABULARY = 512
BASE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "initializer_range": 0.1,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
NEOX = {name: value for name, value in BASE.items() if name not in ("num_key_value_heads", "head_dim")}
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "Llama": ("LlamaForCausalLM", "LlamaConfig", BASE),
    "Gemma 3": ("Gemma3ForCausalLM", "Gemma3TextConfig", BASE | {"sliding_window": 64}),
    "GPT-NeoX": ("GPTNeoXForCausalLM", "GPTNeoXConfig", NEOX),
}
MAMBA = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_heads": 8,
    "head_dim": 16,
    "expand": 2,
    "n_groups": 1,
    "state_size": 16,
    "chunk_size": 32,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
MODELS["Mamba 2"] = ("Mamba2ForCausalLM", "Mamba2Config", MAMBA)
METHODS = {"smoothquant": smoothquant, "awq": partial(awq, group_size=64)}  # the tiny layers are 64 wide


def write_model(name: str, folder: Path) -> None:
    """A model whose norms are no identity: a scale that is moved to the wrong layer shows."""
    model, config, given = MODELS[name]
    torch.manual_seed(0)
    made = getattr(transformers, model)(getattr(transformers, config)(**given))
    with torch.no_grad():
        for part, weight in made.named_parameters():
            if "norm" in part and part.endswith("weight"):
                weight.add_(torch.rand_like(weight))
    made.save_pretrained(folder)
    words = Tokenizer(WordLevel({str(number): number for number in range(VOCABULARY)}, unk_token="0"))
    transformers.PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)


def attempt(name: str, method: str, folder: Path) -> str | None:
    """The words of TransformFailed, or None where a checkpoint was written."""
    tokens = np.random.default_rng(0).integers(3, VOCABULARY, (4, 64)).astype(np.int32)
    np.save(folder / "ids.npy", tokens)
    calibration = Calibration(folder / "ids.npy", "", 4, 64, 0)
    (folder / method).mkdir()
    reset_session()  # what a failed run left in it
    try:
        METHODS[method](folder / "model", folder / method, calibration)
    except TransformFailed as error:
        return str(error)
    assert (folder / method / "model.safetensors").exists()
    return None


def main() -> None:
    torch.set_num_threads(1)
    results: dict[str, dict[str, str | None]] = {}
    for name in MODELS:
        with tempfile.TemporaryDirectory() as place:
            write_model(name, Path(place) / "model")
            results[name] = {method: attempt(name, method, Path(place)) for method in sys.argv[1:] or METHODS}
    print("results " + json.dumps(results))


if __name__ == "__main__":
    main()
