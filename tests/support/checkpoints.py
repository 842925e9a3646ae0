"""Model folders that look like small unquantized models, without weights that mean anything."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing


def write_safetensors(path: Path, tensors: dict[str, tuple[str, tuple[int, ...], int]]) -> None:
    """A file with the given (dtype, shape, bytes) entries, all zeros."""
    header: dict[str, object] = {}
    offset = 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(offset))


def write_tiny_model(folder: Path) -> Path:
    """A folder that looks like a small unquantized model: 96 and 192 wide layers, 4096 positions, 8 words."""
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps({"max_position_embeddings": 4096, "vocab_size": 8, "dtype": "float16"})
    )
    words = {word: index for index, word in enumerate(["<s>", "</s>", "a", "b", "c", "d", "e", "f"])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="a"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
    layers = {
        "model.embed_tokens.weight": ("F16", (8, 96), 1536),
        "model.layers.0.self_attn.q_proj.weight": ("F16", (96, 96), 18432),
        "model.layers.0.mlp.down_proj.weight": ("F16", (96, 192), 36864),
        "model.norm.weight": ("F16", (96,), 192),
    }
    write_safetensors(folder / "model.safetensors", layers)
    return folder


def add_bos(folder: Path) -> None:
    """Let the tokenizer of a folder put its BOS token, id 0, before each text."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.save(str(folder / "tokenizer.json"))


def write_gridded_model(folder: Path, levels: int, block: int) -> Path:
    """A folder with one linear layer, of whose weights each block takes `levels` evenly spaced values at most."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    blocks = np.random.default_rng(0).normal(0, 0.02, (64 * 8, block)).astype(np.float32)
    low = blocks.min(axis=1, keepdims=True)
    step = (blocks.max(axis=1, keepdims=True) - low) / (levels - 1)
    weights = (np.round((blocks - low) / step) * step + low).reshape(64, -1)
    save_file({"model.layers.0.mlp.down_proj.weight": weights}, folder / "model.safetensors")
    return folder
