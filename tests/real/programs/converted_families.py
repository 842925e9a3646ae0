"""The converter of llama.cpp: which architectures it reads, and tiny models whose keys it misses. Runs in the environment
`gguf`; prints one line of JSON.
"""

from __future__ import annotations

import json
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
MODELS: dict[str, dict[str, Any]] = {
    "GPT2LMHeadModel": {"vocab_size": 512, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256},
    "GPTNeoXForCausalLM": {**BASE, "intermediate_size": 128},
    "Cohere2ForCausalLM": {**BASE, "intermediate_size": 128, "num_key_value_heads": 2},
    "FalconForCausalLM": {**BASE, "multi_query": True, "alibi": False, "bias": False},
}


def written(name: str, folder: Path) -> dict[str, Any]:
    """What the converted file of a tiny model says of heads and rotation."""
    config = getattr(transformers, name.replace("ForCausalLM", "Config").replace("LMHeadModel", "Config"))
    torch.manual_seed(0)
    getattr(transformers, name)(config(**MODELS[name])).save_pretrained(folder / "model")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {text: number for number, text in enumerate(["<s>", "</s>", "<u>", *alphabet])}
    words = Tokenizer(BPE(vocabulary, [], unk_token="<u>"))
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>").save_pretrained(folder / "model")
    convert(folder / "model", folder / "model.gguf")
    fields = GGUFReader(folder / "model.gguf").fields
    endings = ("context_length", "head_count", "head_count_kv", "rope.dimension_count")
    return {key: int(field.contents()) for key, field in fields.items() if key.endswith(endings)}


def main() -> None:
    read, failed = [], []
    for name in sorted(conversion.TEXT_MODEL_MAP):
        if any(word in name for word in LANGUAGE_MODELS) and "." not in name:
            try:
                conversion.get_model_class(name)
                read.append(name)
            except AttributeError:
                failed.append(name)
    files = {}
    for name in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            files[name] = written(name, Path(folder))
            assert not (Path(folder) / "with-old-keys").exists()
    print("results " + json.dumps({"read": read, "failed": failed, "files": files}))


if __name__ == "__main__":
    main()
