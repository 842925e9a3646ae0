"""The shape of a language model, by its configuration (`config.json`). Standard library only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quant.checkpoints.configuration import EXPERTS, Configuration, text_configuration

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HEADS = ("num_attention_heads", "n_head", "n_heads")
HIDDEN = ("hidden_size", "n_embd", "d_model")
KINDS = ("layer_types", "layers_block_type")  # a word for each layer
WINDOWS = ("sliding_window", "attention_chunk_size")
UNSAID_WINDOWS = {"mistral": 4096}  # of a configuration without the key: what Transformers' class has
WINDOW_IF_SAID = ("qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "smollm3")  # `use_sliding_window` is false by default
EXPERTS_PER_TOKEN = ("num_experts_per_tok", "num_experts_per_token", "moe_top_k", "moe_topk", "moe_k")


@dataclass(frozen=True)
class Shape:
    """None and empty stand for what the configuration does not say; classes have defaults of their own.

    `layer_kinds`: how many layers are of which kind, such as ("full_attention", 5). `window`: tokens that a sliding or
    chunked layer sees. `key_value_heads` with `head_size` numbers each keep keys and values, or all of a layer's heads
    together `latent_rank` numbers (MLA: DeepSeek-V2, 2024).
    """

    layers: int | None = None
    layer_kinds: tuple[tuple[str, int], ...] = ()
    window: int | None = None
    heads: int | None = None
    key_value_heads: int | None = None
    head_size: int | None = None
    experts: int | None = None
    experts_per_token: int | None = None
    tied_head: bool | None = None
    latent_rank: int | None = None


def shape_of(config: Configuration) -> Shape:
    """Of a configuration, whose language model may be nested in it. Raises ValueError or TypeError for numbers that are
    none.
    """
    text = text_configuration(config)
    experts = {**text, **(text.get("ffn_config") or {})}
    heads, hidden = _first_number(text, HEADS), _first_number(text, HIDDEN)
    kinds: list[Any] = next((text[key] for key in KINDS if isinstance(text.get(key), list)), [])
    latent_rank = _first_number(text, ("kv_lora_rank",))
    tied = text.get("tie_word_embeddings", config.get("tie_word_embeddings"))
    return Shape(
        _first_number(text, LAYERS) or len(kinds) or None,
        tuple(sorted(Counter(map(str, kinds)).items())),
        _window(text),
        heads,
        None if latent_rank else _key_value_heads(text, heads),
        None if latent_rank else _first_number(text, ("head_dim",)) or (hidden // heads if hidden and heads else None),
        _first_number(experts, EXPERTS),
        _first_number(experts, EXPERTS_PER_TOKEN),
        tied if isinstance(tied, bool) else None,
        latent_rank,
    )


def _window(text: Configuration) -> int | None:
    kind = text.get("model_type")
    if not text.get("use_sliding_window", kind not in WINDOW_IF_SAID):
        return None
    if kind in UNSAID_WINDOWS and "sliding_window" not in text:
        return UNSAID_WINDOWS[kind]
    return _first_number(text, WINDOWS)


def _key_value_heads(text: Configuration, heads: int | None) -> int | None:
    """By Llama's key, by DBRX's and by Falcon's, which counts them only in its newer decoder; else one a head."""
    named = ("num_kv_heads",) if text.get("new_decoder_architecture") else ()
    given = {**text, **(text.get("attn_config") or {})}
    if any(isinstance(given.get(name), list) for name in ("num_key_value_heads", *named)):
        return None  # another number in each layer
    counted = _first_number(given, ("num_key_value_heads", "kv_n_heads", *named))
    return counted or (1 if text.get("multi_query") and not named else heads)


def _first_number(values: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    """The first of these numbers that is there and not 0; of a list by layer the largest."""
    for name in names:
        if given := values.get(name):
            number = int(max(given)) if isinstance(given, list) else int(given)
            return number if number > 0 else None
    return None
