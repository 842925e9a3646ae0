"""Tokenizers and configurations that somebody damaged are a line that names the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.accuracy.chat_template import ChatTemplateError, special_tokens, template_of
from evals.api.tokenizers import load_tokenizer, special_ids
from quant.checkpoints.safetensors import CheckpointError


@pytest.mark.parametrize("content", [b"", b"\x00" * 9, b"{}", '{"a": "é'.encode("utf-16"), b'{"version": "1.0"'])
def test_a_damaged_tokenizer(tiny_model: Path, content: bytes) -> None:
    (tiny_model / "tokenizer.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: cannot be read \(.*\)\. Copy, download"):
        load_tokenizer(tiny_model)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"eos_token": {}}', b'{"eos_token": 5}', b"[" * 100_000])
def test_damaged_names_of_tokens(tiny_model: Path, content: bytes) -> None:
    tokenizer = load_tokenizer(tiny_model)
    (tiny_model / "tokenizer_config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json: cannot be read"):
        special_ids(tiny_model, tokenizer)


@pytest.mark.parametrize("content", [b"[]", b'{"eos_token_id": "x"}', b'{"eos_token_id": []}'])
def test_a_damaged_end_of_texts(tiny_model: Path, content: bytes) -> None:
    (tiny_model / "tokenizer_config.json").write_text("{}")
    (tiny_model / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read"):
        special_ids(tiny_model, load_tokenizer(tiny_model))


def test_a_damaged_template(tiny_model: Path) -> None:
    (tiny_model / "tokenizer_config.json").write_text('{"chat_template": [5]}')
    with pytest.raises(ChatTemplateError, match="its chat template: cannot be read"):
        template_of(tiny_model)
    (tiny_model / "chat_template.jinja").write_bytes(b"\xe9\xff")
    with pytest.raises(ChatTemplateError, match="its chat template: cannot be read"):
        template_of(tiny_model)
    (tiny_model / "tokenizer_config.json").write_text('{"bos_token": {}}')
    with pytest.raises(ChatTemplateError, match="its tokens' names: cannot be read"):
        special_tokens(tiny_model)
