"""The converter of llama.cpp: which architectures it reads, which only with SentencePiece's file, and tiny models whose
keys or windows it misses. Runs in the environment `gguf`; prints one line of JSON.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

import conversion
import torch
import transformers
from gguf import GGUFReader
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from quant.tools.gguf import convert

LANGUAGE_MODELS = ("ForCausalLM", "LMHead")
BASE = {
    "vocab_size": 512,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
WINDOWED = {**BASE, "intermediate_size": 128, "num_key_value_heads": 2, "sliding_window": 32}
MODELS: dict[str, dict[str, Any]] = {
    "GPT2LMHeadModel": {"vocab_size": 512, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256},
    "GPTNeoXForCausalLM": {**BASE, "intermediate_size": 128},
    "Cohere2ForCausalLM": {**BASE, "intermediate_size": 128, "num_key_value_heads": 2},
    "FalconForCausalLM": {**BASE, "multi_query": True, "alibi": False, "bias": False},
    "MistralForCausalLM": WINDOWED,
    "MixtralForCausalLM": {**WINDOWED, "num_local_experts": 2},
    "Qwen2ForCausalLM": {**WINDOWED, "use_sliding_window": True, "max_window_layers": 0},
    "Qwen3ForCausalLM": {**WINDOWED, "use_sliding_window": True, "max_window_layers": 0, "head_dim": 16},
    "Starcoder2ForCausalLM": WINDOWED,
    "Olmo3ForCausalLM": WINDOWED,
}


def written(name: str, folder: Path) -> dict[str, Any]:
    """What the converted file of a tiny model says of heads and rotation."""
    config = getattr(transformers, name.replace("ForCausalLM", "Config").replace("LMHeadModel", "Config"))
    torch.manual_seed(0)
    getattr(transformers, name)(config(**MODELS[name])).save_pretrained(folder / "model")
    save_tokenizer(folder / "model")
    convert(folder / "model", folder / "model.gguf")
    fields = GGUFReader(folder / "model.gguf").fields
    endings = ("context_length", "head_count", "head_count_kv", "rope.dimension_count", "attention.sliding_window")
    return {key: int(field.contents()) for key, field in fields.items() if key.endswith(endings)}


def save_tokenizer(folder: Path) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {text: number for number, text in enumerate(["<s>", "</s>", "<u>", *alphabet])}
    words = Tokenizer(BPE(vocabulary, [], unk_token="<u>"))
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>").save_pretrained(folder)


def wants_sentencepiece(architecture: Any, folder: Path) -> bool:
    """Whether the tokenizer in `folder`, which has no `tokenizer.model`, is refused for that."""
    model = object.__new__(architecture)
    model.dir_model, model.hparams = folder, {"vocab_size": 512}
    try:
        model.set_vocab()
    except SystemExit:
        return True
    except Exception as error:  # the model's other parts are not there: only this one is asked for
        return "tokenizer.model" in str(error)
    return False


def main() -> None:
    read, failed, sentencepiece = [], [], []
    logging.disable()
    folder = Path(tempfile.mkdtemp())
    save_tokenizer(folder)
    (folder / "chat_template.jinja").write_text("")  # Grok's other tokenizer comes with one
    for name in sorted(conversion.TEXT_MODEL_MAP):
        if any(word in name for word in LANGUAGE_MODELS) and "." not in name:
            try:
                architecture = conversion.get_model_class(name)
            except AttributeError:
                failed.append(name)
                continue
            read.append(name)
            if wants_sentencepiece(architecture, folder):
                sentencepiece.append(name)
    shutil.rmtree(folder)
    files = {}
    for name in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            files[name] = written(name, Path(folder))
            assert not (Path(folder) / "with-old-keys").exists()
    print("results " + json.dumps({"read": read, "failed": failed, "sentencepiece": sentencepiece, "files": files}))


if __name__ == "__main__":
    main()
