"""A checkpoint's tokenizer, by the `tokenizers` library alone: the orchestrator has no torch and no Transformers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from quant.canonical_json import read_regular
from quant.checkpoints.configuration import text_configuration
from quant.checkpoints.safetensors import MAKE_AGAIN, CheckpointError
from quant.errors import reading


def load_tokenizer(folder: Path) -> Tokenizer:
    """`tokenizer.json` of a checkpoint, without truncation or padding. Raises CheckpointError."""
    file = folder / "tokenizer.json"
    with reading(file, CheckpointError, MAKE_AGAIN):
        tokenizer = Tokenizer.from_buffer(read_regular(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def special_ids(folder: Path, tokenizer: Tokenizer) -> tuple[int | None, int | None]:
    """(begin, end of text) as `tokenizer_config.json` names them; the end else as `config.json` does (GPT-2's).

    Raises CheckpointError.
    """
    file = folder / "tokenizer_config.json"
    with reading(file, CheckpointError, MAKE_AGAIN):
        config = json.loads(read_regular(file))

        def find(name: str) -> int | None:
            token = config.get(name)
            text = token["content"] if isinstance(token, dict) else token
            return tokenizer.token_to_id(text) if text else None

        begin, end = find("bos_token"), find("eos_token")
    return begin, _configured_end(folder / "config.json") if end is None else end


def tokenizer_class(folder: Path) -> str:
    """As `tokenizer_config.json` names it; empty where it does not. Raises CheckpointError."""
    file = folder / "tokenizer_config.json"
    with reading(file, CheckpointError, MAKE_AGAIN):
        return str(json.loads(read_regular(file)).get("tokenizer_class") or "")


def _configured_end(file: Path) -> int | None:
    with reading(file, CheckpointError, MAKE_AGAIN):
        config = json.loads(read_regular(file)) if file.exists() else {}
        ids = text_configuration(config).get("eos_token_id")
        first = ids[0] if isinstance(ids, list) else ids
        return None if first is None else int(first)


def added_ids(tokenizer: Tokenizer) -> list[int]:
    """What the tokenizer puts before every text by itself (a BOS token, or nothing)."""
    ids: list[int] = tokenizer.encode("").ids
    return ids


def text_of(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The text that a server turns into exactly `ids`, what it adds by itself included. Raises ValueError."""
    added = added_ids(tokenizer)
    text: str = tokenizer.decode(list(ids[len(added) :]), skip_special_tokens=False)
    if tokenizer.encode(text).ids != list(ids):
        raise ValueError(f"no text gives exactly these {len(ids)} token ids, and this server takes text alone")
    return text


def word_ids(tokenizer: Tokenizer) -> list[int]:
    """Ids of whole words with the space before them: whatever is drawn from them is also the ids of its text."""
    ids = ordinary_ids(tokenizer)
    words = [(index, tokenizer.id_to_token(index) or " ") for index in ids]
    likely = [index for index, word in words if word[0] in "\u0120\u2581" and word[1:].isascii() and word[1:].isalpha()]
    texts = [tokenizer.decode([index]) for index in likely]
    alone = tokenizer.encode_batch([f" {text.strip()}" for text in texts], add_special_tokens=False)
    return [index for index, encoding in zip(likely, alone, strict=True) if encoding.ids == [index]]


def ordinary_ids(tokenizer: Tokenizer) -> list[int]:
    """All token ids but the special ones, sorted: what synthetic prompts are drawn from."""
    special = {index for index, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    return sorted(set(tokenizer.get_vocab().values()) - special)
