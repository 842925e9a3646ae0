"""A model's folder as Transformers 4 reads it: archived tools misread what Transformers 5 writes without an error, the
rotary base above all (10000 where the configuration says otherwise).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def legacy_copy(model: Path, out: Path) -> Path:
    """`out` with the configuration and the tokenizer in their old form and links to the weights.

    Raises ValueError for what has no old form.
    """
    out.mkdir()
    _write(out / "config.json", _config(_read(model / "config.json")))
    _write(out / "tokenizer.json", _tokenizer(_read(model / "tokenizer.json")))
    config = _read(model / "tokenizer_config.json")
    special_tokens = {
        name: config[name] for name in ("bos_token", "eos_token", "pad_token", "unk_token") if config.get(name)
    }
    _write(out / "tokenizer_config.json", {**special_tokens, "tokenizer_class": "PreTrainedTokenizerFast"})
    for file in model.glob("*.safetensors*"):
        (out / file.name).symlink_to(file.resolve())
    return out


def _config(config: dict[str, Any]) -> dict[str, Any]:
    """`rope_parameters` were `rope_theta` and `rope_scaling`, `dtype` was `torch_dtype`."""
    rope = dict(config.pop("rope_parameters", None) or {})
    if rope:
        if "rope_theta" not in rope:
            raise ValueError("rope_parameters by layer have no form that Transformers 4 reads")
        config["rope_theta"] = rope.pop("rope_theta")
        config["rope_scaling"] = None if rope.get("rope_type", "default") == "default" else rope
    if "dtype" in config:
        config["torch_dtype"] = config.pop("dtype")
    config.pop("transformers_version", None)
    return config


def _tokenizer(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """Merges were one text each."""
    merges = tokenizer["model"].get("merges")
    if merges and isinstance(merges[0], list):
        if any(" " in part for pair in merges for part in pair):
            raise ValueError("a merge with a space in it has no form that Transformers 4 reads")
        tokenizer["model"]["merges"] = [" ".join(pair) for pair in merges]
    return tokenizer


def _read(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return document


def _write(file: Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
