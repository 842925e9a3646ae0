"""The tokenizer of a checkpoint is that of its source."""

from __future__ import annotations

from pathlib import Path

from quant.checkpoints.model_files import TOKENIZER_FILES, regular_files


def copy_tokenizer(model: Path, out: Path) -> None:
    """The tokenizer's files, byte for byte: a quantizer has no reason to change them."""
    for file in regular_files(model, TOKENIZER_FILES):
        (out / file.name).write_bytes(file.read_bytes())
