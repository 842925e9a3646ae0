"""The tokenizer of a checkpoint is that of its source."""

from __future__ import annotations

from pathlib import Path


def copy_tokenizer(model: Path, out: Path) -> None:
    """The tokenizer's files, byte for byte: a quantizer has no reason to change them."""
    names = (
        "tokenizer*",
        "special_tokens_map.json",
        "chat_template*",
        "vocab*",
        "merges.txt",
        "generation_config.json",
    )
    for pattern in names:
        for file in model.glob(pattern):
            (out / file.name).write_bytes(file.read_bytes())
