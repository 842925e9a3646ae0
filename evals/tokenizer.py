"""A checkpoint's tokenizer, by the `tokenizers` library alone: the orchestrator has no torch and no Transformers."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer


def load_tokenizer(folder: Path) -> Tokenizer:
    """`tokenizer.json` of a checkpoint, without truncation or padding."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def special_ids(folder: Path, tokenizer: Tokenizer) -> tuple[int | None, int | None]:
    """(begin, end of text) as `tokenizer_config.json` names them."""
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))

    def find(name: str) -> int | None:
        token = config.get(name)
        text = token["content"] if isinstance(token, dict) else token
        return tokenizer.token_to_id(text) if text else None

    return find("bos_token"), find("eos_token")


def ordinary_ids(tokenizer: Tokenizer) -> list[int]:
    """All token ids but the special ones, sorted: what synthetic prompts are drawn from."""
    special = {index for index, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    return sorted(set(tokenizer.get_vocab().values()) - special)
